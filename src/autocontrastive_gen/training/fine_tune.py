"""Training on tasks: source and target, loss on the target alone; and T5's span corruption.

    python -m autocontrastive_gen.training.fine_tune --model <folder> --exits "2;4" --data train.jsonl --output <folder>

transformers' Trainer does the work (so its launchers, FSDP included, apply); the loss is the model's own, the sum over
its exits. Data are json lines ``{"source", "target"}``, or ``{"text"}`` with ``--objective spans``.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from autocontrastive_gen.foundation.commands import run
from autocontrastive_gen.foundation.digests import seed_for
from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.foundation.files import read_jsonl
from autocontrastive_gen.training.spans import corrupt

log = logging.getLogger(__name__)

IGNORED = -100
"""Label of positions without loss."""

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "decoder": {"optim": "adamw_torch", "lr_scheduler_type": "linear", "learning_rate": 5e-4},
    "encoder-decoder": {"optim": "adafactor", "lr_scheduler_type": "constant", "learning_rate": 1e-4},
    "spans": {"optim": "adafactor", "lr_scheduler_type": "constant", "learning_rate": 1e-2},
}
"""The reference's optimizers."""

Example = dict[str, list[int]]


def encode_tasks(rows: Iterable[Mapping[str, str]], tokenizer, encoder_decoder: bool, max_length: int) -> list[Example]:
    """``{"input_ids", "labels"}`` of rows with "source" and "target".

    A decoder-only model reads both, and source tokens carry no label; a source too long loses its beginning. An
    encoder-decoder's target too long loses its end but for the end-of-sequence token; the log says how many did.
    ValueError if a row lacks a field, or if a target leaves a decoder-only model no room for its source.
    """
    examples, cut = [], 0
    for number, row in enumerate(rows):
        missing = [key for key in ("source", "target") if not row.get(key)]
        if missing:
            raise InputError(f"row {number}: {', '.join(missing)} is missing or empty; rows need source and target")
        source = tokenizer(row["source"], add_special_tokens=False)["input_ids"]
        target = [*tokenizer(row["target"], add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        if encoder_decoder:
            source = [*source[-max_length + 1 :], tokenizer.eos_token_id]
            cut += len(target) > max_length
            examples.append({"input_ids": source, "labels": [*target[: max_length - 1], target[-1]][:max_length]})
            continue
        if len(target) >= max_length:
            raise InputError(
                f"row {number}: a target of {len(target)} tokens leaves no room in max_length={max_length}; raise "
                "--max-length"
            )
        source = source[-(max_length - len(target)) :]
        examples.append({"input_ids": [*source, *target], "labels": [IGNORED] * len(source) + target})
    if cut:
        log.warning(
            "%d of %d targets were cut to max_length=%d tokens; raise --max-length", cut, number + 1, max_length
        )
    return examples


def encode_spans(texts: Iterable[str], tokenizer, max_length: int, seed: int) -> list[Example]:
    """``{"input_ids", "labels"}`` of texts under span corruption, the noise of each drawn by its number."""
    sentinels = sentinel_tokens(tokenizer)
    examples = []
    for number, text in enumerate(texts):
        tokens = tokenizer(text, add_special_tokens=False, truncation=True, max_length=max_length)["input_ids"]
        generator = torch.Generator().manual_seed(seed_for(seed, "spans", number))
        inputs, target = corrupt(tokens, sentinels, tokenizer.eos_token_id, generator)
        examples.append({"input_ids": inputs, "labels": target})
    return examples


def sentinel_tokens(tokenizer) -> list[int]:
    """Ids of <extra_id_0>, <extra_id_1>, ...; ValueError for a tokenizer without them."""
    vocabulary = tokenizer.get_vocab()
    found = []
    while (name := f"<extra_id_{len(found)}>") in vocabulary:
        found.append(vocabulary[name])
    if not found:
        raise InputError(f"{tokenizer.name_or_path}: no <extra_id_0>; span corruption needs a tokenizer of T5")
    return found


def collate(examples: Sequence[Example], pad: int) -> dict[str, torch.Tensor]:
    """Examples padded on the right to (B, T); labels by themselves, since a target's length is its own."""

    def padded(key: str, value: int) -> torch.Tensor:
        length = max(len(example[key]) for example in examples)
        return torch.tensor([example[key] + [value] * (length - len(example[key])) for example in examples])

    lengths = torch.tensor([len(example["input_ids"]) for example in examples])
    inputs = padded("input_ids", pad)
    mask = (torch.arange(inputs.shape[1]) < lengths[:, None]).long()
    return {"input_ids": inputs, "attention_mask": mask, "labels": padded("labels", IGNORED)}


def fine_tune(
    model, examples: Sequence[Example], pad: int, folder: Path, *, freeze: bool = True, seed: int = 0, **options: Any
) -> list[float]:
    """Train ``model`` in place on ``examples``; mean losses by logging step.

    ``freeze`` leaves only the exits trainable. ``options`` are transformers' ``TrainingArguments``.
    """
    from transformers import Trainer, TrainingArguments

    if not examples:
        raise InputError("fine-tuning: there is no example; allowed: at least one row of data")
    model.requires_grad_(True)
    if freeze:
        model.freeze_trunk()
    arguments = TrainingArguments(
        output_dir=str(folder),
        seed=seed,
        report_to=[],
        remove_unused_columns=False,
        **{"save_strategy": "no", "logging_steps": 10, "use_cpu": not torch.accelerator.is_available(), **options},
    )
    trainer = Trainer(model, arguments, train_dataset=list(examples), data_collator=lambda rows: collate(rows, pad))
    trainer.train()
    model.eval()
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="folder or hub name of a model, with exits or without")
    parser.add_argument("--exits", help="layers to give exits to, such as '2;4'; left out: those the model has")
    parser.add_argument("--mode", help="projection mode of new exits")
    parser.add_argument("--data", required=True, type=Path, help="json lines")
    parser.add_argument("--output", required=True, type=Path, help="folder for the trained model")
    parser.add_argument("--objective", choices=("task", "spans"), default="task")
    parser.add_argument("--train-trunk", action="store_true", help="train the whole model, not the exits alone")
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, help="left out: the reference's")
    parser.add_argument("--max-length", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    train_as_told(parser.parse_args())


def train_as_told(arguments: argparse.Namespace) -> None:
    """Load, train and save as the command line says."""
    from transformers import AutoTokenizer

    from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
    from autocontrastive_gen.modeling.configuration import MultiExitConfiguration

    configuration = MultiExitConfiguration(arguments.mode, arguments.exits)
    model = AutoMultiExitModel.from_pretrained(arguments.model, multi_exit_config=configuration)
    tokenizer = AutoTokenizer.from_pretrained(arguments.model, trust_remote_code=False)
    encoder_decoder, rows = model.config.is_encoder_decoder, read_jsonl(arguments.data)
    if arguments.objective == "spans":
        if not encoder_decoder:
            raise InputError(f"--objective spans: {arguments.model} is decoder-only; it needs an encoder-decoder")
        examples = encode_spans((row["text"] for row in rows), tokenizer, arguments.max_length, arguments.seed)
        recipe = OPTIMIZERS["spans"]
    else:
        examples = encode_tasks(rows, tokenizer, encoder_decoder, arguments.max_length)
        recipe = OPTIMIZERS["encoder-decoder" if encoder_decoder else "decoder"]
    given = {} if arguments.learning_rate is None else {"learning_rate": arguments.learning_rate}
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    fine_tune(
        model,
        examples,
        pad,
        arguments.output,
        freeze=not arguments.train_trunk,
        seed=arguments.seed,
        num_train_epochs=arguments.epochs,
        per_device_train_batch_size=arguments.batch_size,
        **{**recipe, **given},
    )
    model.save_pretrained(arguments.output)
    tokenizer.save_pretrained(arguments.output)


if __name__ == "__main__":
    run(main, "fine-tune")
