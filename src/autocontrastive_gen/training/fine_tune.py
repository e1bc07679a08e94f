"""Training exits on tasks, with the loss on the target alone, or by T5's span corruption.

    python -m autocontrastive_gen.training.fine_tune --model <folder> --exits "2;4" --data train.jsonl --output <folder>

transformers' ``Trainer`` does the work, so its launchers, FSDP included, apply; the loss is the model's own, the sum
over its exits. The data are JSON lines with "source" and "target", or with "text" for ``--objective spans``.
"""

from __future__ import annotations

import argparse
import copy
import logging
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from autocontrastive_gen.foundation.commands import run
from autocontrastive_gen.foundation.digests import seed_for
from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.foundation.files import read_jsonl
from autocontrastive_gen.modeling.multi_exit import MultiExitModel
from autocontrastive_gen.training.spans import corrupt
from autocontrastive_gen.training.texts import check_tokenizer, stream

log = logging.getLogger(__name__)

IGNORED = -100
"""Label of positions that carry no loss."""

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "decoder": {"optim": "adamw_torch", "lr_scheduler_type": "linear", "learning_rate": 5e-4},
    "encoder-decoder": {"optim": "adafactor", "lr_scheduler_type": "constant", "learning_rate": 1e-4},
    "spans": {"optim": "adafactor", "lr_scheduler_type": "constant", "learning_rate": 1e-2},
}
"""What the reference takes for each kind of training."""

Example = dict[str, list[int]]


def encode_tasks(
    rows: Iterable[Mapping[str, str]], tokenizer: Any, encoder_decoder: bool, max_length: int
) -> list[Example]:
    """Token ids and labels of rows with "source" and "target".

    A decoder-only model reads both, and the tokens of the source carry no loss; a source that is too long loses its
    beginning. An encoder-decoder's target that is too long loses its end but keeps the end-of-sequence token; the log
    says how many do.

    Raises:
        InputError: a row lacks a field, or a target leaves a decoder-only model no room for its source.
    """
    encode = _source_and_target if encoder_decoder else _continuation
    examples, cut = [], 0
    for number, row in enumerate(rows):
        missing = [key for key in ("source", "target") if not (isinstance(row, Mapping) and row.get(key))]
        if missing:
            raise InputError(f"row {number}: {', '.join(missing)} is missing or empty; rows need source and target")
        source = tokenizer(row["source"], add_special_tokens=False)["input_ids"]
        target = [*tokenizer(row["target"], add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        cut += len(target) > max_length
        if len(target) >= max_length and not encoder_decoder:
            raise InputError(
                f"row {number}: a target of {len(target)} tokens leaves no room in max_length={max_length}; raise it"
            )
        examples.append(encode(source, target, max_length))
    if cut:
        log.warning("%d of %d targets were cut to max_length=%d tokens; raise it", cut, len(examples), max_length)
    return examples


def _continuation(source: list[int], target: list[int], max_length: int) -> Example:
    source = source[-(max_length - len(target)) :]
    return {"input_ids": [*source, *target], "labels": [IGNORED] * len(source) + target}


def _source_and_target(source: list[int], target: list[int], max_length: int) -> Example:
    end = target[-1]
    labels = target if len(target) <= max_length else [*target[: max_length - 1], end]
    return {"input_ids": [*source[-max_length + 1 :], end], "labels": labels}


def encode_spans(texts: Iterable[str], tokenizer: Any, max_length: int, seed: int) -> list[Example]:
    """Token ids and labels of texts under span corruption; the spans of each text are drawn by its number.

    Raises:
        InputError: the tokenizer has no sentinels, or a text is too short or has more spans than there are sentinels.
    """
    sentinels = sentinel_tokens(tokenizer)
    examples = []
    for number, text in enumerate(texts):
        tokens = tokenizer(text, add_special_tokens=False, truncation=True, max_length=max_length)["input_ids"]
        generator = torch.Generator().manual_seed(seed_for(seed, "spans", number))
        inputs, target = corrupt(tokens, sentinels, tokenizer.eos_token_id, generator)
        examples.append({"input_ids": inputs, "labels": target})
    return examples


def sentinel_tokens(tokenizer: Any) -> list[int]:
    """Ids of <extra_id_0>, <extra_id_1>, ...

    Raises:
        InputError: the tokenizer has none.
    """
    vocabulary = tokenizer.get_vocab()
    found: list[int] = []
    while (name := f"<extra_id_{len(found)}>") in vocabulary:
        found.append(vocabulary[name])
    if not found:
        raise InputError(f"{tokenizer.name_or_path}: no <extra_id_0>; span corruption needs a tokenizer of T5")
    return found


def collator(tokenizer: Any) -> Any:
    """Pads examples on the right: ``input_ids`` and ``attention_mask`` (B, T), ``labels`` (B, L) with IGNORED.

    A tokenizer without a padding token pads with the end-of-sequence token, which the mask hides.
    """
    from transformers import DataCollatorForSeq2Seq

    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=IGNORED)


def fine_tune(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    data: Iterable[Mapping[str, str]] | Iterable[str],
    *,
    objective: Literal["task", "spans"] = "task",
    max_length: int = 512,
    freeze: bool = True,
    seed: int = 0,
    folder: Path | str | None = None,
    **options: Any,
) -> list[float]:
    """Train a multi-exit model in place with transformers' ``Trainer`` (needs accelerate).

    The loss is the model's own: the sum over its exits of the mean cross-entropy of the labels.

    Args:
        model: a model with exits.
        tokenizer: the tokenizer that belongs to it.
        data: rows with "source" and "target"; texts if the objective is span corruption.
        objective: "task" learns the target given the source; "spans" is T5's span corruption.
        max_length: tokens of an example at most.
        freeze: train the exits alone.
        seed: of the order of examples, of dropout and of the spans.
        folder: where checkpoints go if ``options`` ask for any; by default a temporary folder.
        **options: of ``TrainingArguments``, in place of the reference's optimizer and schedule (``OPTIMIZERS``).

    Returns:
        The mean loss of each logging step.

    Raises:
        InputError: there is no data, a row lacks a field, or the objective does not suit the model or tokenizer.

    >>> from transformers import AutoTokenizer
    >>> from autocontrastive_gen import AutoMultiExitModel, MultiExitConfiguration
    >>> exits = MultiExitConfiguration("LAYER_SPECIFIC_PROJECTION", lm_head_layer_indices=(2, 4))
    >>> model = AutoMultiExitModel.from_pretrained("gpt2", multi_exit_config=exits)
    >>> rows = [{"source": "humpty dumpty", "target": " sat on a wall"}] * 16
    >>> tokenizer = AutoTokenizer.from_pretrained("gpt2")
    >>> options = {"num_train_epochs": 8, "learning_rate": 0.01, "logging_steps": 1, "disable_tqdm": True}
    >>> losses = fine_tune(model, tokenizer, rows, **options)
    >>> losses[-1] < losses[0]
    True
    """
    from transformers import PrinterCallback, Trainer, TrainingArguments

    if type(max_length) is not int or max_length < 2:
        raise InputError(f"max_length: {max_length!r} must be a whole number of at least 2")
    if not isinstance(model, MultiExitModel):
        raise InputError(
            f"model: {type(model).__name__} has no exits to train; give it some with AutoMultiExitModel.from_model"
        )
    check_tokenizer(tokenizer)
    if not isinstance(data, Iterable) or isinstance(data, str | Mapping):
        raise InputError(f"data: give an iterable of rows such as a list, got a {type(data).__name__}")
    examples, recipe = _encoded(model, tokenizer, data, objective, max_length, seed)
    if not examples:
        raise InputError("fine-tuning: there is no example; give at least one row of data")
    model.requires_grad_(True)
    if freeze:
        model.freeze_trunk()
    defaults = {"save_strategy": "no", "logging_steps": 10, "use_cpu": not torch.accelerator.is_available()}
    with tempfile.TemporaryDirectory(prefix="fine_tune-", ignore_cleanup_errors=True) as temporary:
        arguments = TrainingArguments(
            output_dir=str(folder or temporary),
            seed=seed,
            report_to=[],
            remove_unused_columns=False,
            **{**defaults, **recipe, **options},
        )
        trainer = Trainer(model, arguments, train_dataset=examples, data_collator=collator(tokenizer))
        trainer.remove_callback(PrinterCallback)  # the losses are returned
        trainer.train()
    model.eval()
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


def _encoded(
    model: Any, tokenizer: Any, data: Iterable[Any], objective: str, max_length: int, seed: int
) -> tuple[list[Example], dict[str, Any]]:
    """Examples, and the optimizer that the reference takes for them."""
    encoder_decoder = model.config.is_encoder_decoder
    if objective == "task":
        examples = encode_tasks(data, tokenizer, encoder_decoder, max_length)
        return examples, OPTIMIZERS["encoder-decoder" if encoder_decoder else "decoder"]
    if objective != "spans":
        raise InputError(f"objective: {objective!r} must be task or spans")
    if not encoder_decoder:
        raise InputError(f"objective spans: {type(model).__name__} is decoder-only; it needs an encoder-decoder")
    return encode_spans(stream(data), tokenizer, max_length, seed), OPTIMIZERS["spans"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="folder or hub name of a model, with exits or without")
    parser.add_argument("--exits", help="layers to give exits to, such as '2;4'; by default those the model has")
    parser.add_argument("--mode", help="projection mode of new exits")
    parser.add_argument("--data", required=True, type=Path, help="file of JSON lines")
    parser.add_argument("--output", required=True, type=Path, help="folder for the trained model")
    parser.add_argument("--objective", choices=("task", "spans"), default="task")
    parser.add_argument("--train-trunk", action="store_true", help="train the whole model, not the exits alone")
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, help="by default the reference's")
    parser.add_argument("--max-length", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    fine_tune_from(parser.parse_args())


def fine_tune_from(arguments: argparse.Namespace) -> None:
    """Load, train and save as the command line asks."""
    from transformers import AutoTokenizer

    from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
    from autocontrastive_gen.modeling.configuration import MultiExitConfiguration

    configuration = MultiExitConfiguration(arguments.mode, arguments.exits)
    model = AutoMultiExitModel.from_pretrained(arguments.model, multi_exit_config=configuration)
    tokenizer = AutoTokenizer.from_pretrained(arguments.model, trust_remote_code=False)
    rows: list[Any] = read_jsonl(arguments.data)
    rate = {} if arguments.learning_rate is None else {"learning_rate": arguments.learning_rate}
    fine_tune(
        model,
        tokenizer,
        rows if arguments.objective == "task" else [row.get("text") for row in rows],
        objective=arguments.objective,
        max_length=arguments.max_length,
        freeze=not arguments.train_trunk,
        seed=arguments.seed,
        folder=arguments.output,
        num_train_epochs=arguments.epochs,
        per_device_train_batch_size=arguments.batch_size,
        **rate,
    )
    model.save_pretrained(arguments.output)
    tokenizer.save_pretrained(arguments.output)


if __name__ == "__main__":
    run(main, "fine-tune")
