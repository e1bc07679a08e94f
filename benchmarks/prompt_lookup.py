"""Tokens per pass when the prompt and the text so far draft (transformers' ``prompt_lookup_num_tokens``).

Greedy search continues pieces of a text, one at a time, plain and under each contrast, with exits that are the model's
own head (``SHARED_PROJECTION_DIRECT``) or those of ``--exits``. In float32, drafts must leave every token as it was.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from transformers import AutoTokenizer

from autocontrastive_gen.foundation.commands import run
from autocontrastive_gen.foundation.environment import threads
from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration
from autocontrastive_gen.modeling.method import METHODS
from benchmarks.decode import PROMPT, TEXT


def passes(model, ids: torch.Tensor, tokens: int, drafts: int | None) -> tuple[torch.Tensor, int]:
    """The text of greedy search, and the passes of the model that it took."""
    count = 0

    def add(*_) -> None:
        nonlocal count
        count += 1

    hook = model.get_decoder().register_forward_pre_hook(add)
    options = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": False, "pad_token_id": 0}
    text = model.generate(ids, attention_mask=torch.ones_like(ids), prompt_lookup_num_tokens=drafts, **options)
    hook.remove()
    return text, count


def settings(lower: int) -> dict[str, dict]:
    """Ways of decoding -> arguments of ``set_exits``."""
    layers = ("original", lower)
    contrasts = {name: {"contrast_layer_indices": layers, "contrast_function": name} for name in sorted(METHODS)}
    return {"plain": {"use_original_head": True}, **contrasts}


def rows(model, prompts: list[torch.Tensor], lower: int, tokens: int, drafts: int) -> Iterator[list[str]]:
    """Lines of the table."""
    for name, fields in settings(lower).items():
        total, same = 0, True
        with model.set_exits(MultiExitConfiguration(), **{"use_original_head": False, **fields}):
            for ids in prompts:
                expected, _ = passes(model, ids, tokens, None)
                found, count = passes(model, ids, tokens, drafts)
                total, same = total + count, same and found.equal(expected)
        yield [name, f"{len(prompts) * tokens / total:.2f}", "yes" if same else "no"]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    default = Path("runs/laptop/fetch/smollm2")
    parser.add_argument("--model", type=Path, default=default, help="folder of a model (default: %(default)s)")
    parser.add_argument("--exits", type=Path, help="folder of trained exits; by default, the model's own head reads")
    parser.add_argument("--lower", type=int, help="lower layer (default: the halfway layer)")
    parser.add_argument("--prompts", type=int, default=8, help="(default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=100, help="new tokens per text (default: %(default)s)")
    parser.add_argument("--drafts", type=int, default=5, help="drafted tokens per pass (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=threads(1))
    return parser.parse_args()


def main() -> None:
    """Print the table, a line as soon as it is measured."""
    options = arguments()
    if not (options.model / "config.json").is_file():
        raise OSError(f"--model {options.model}: no model in this folder; `dvc repro fetch` makes it")
    torch.set_num_threads(options.threads)
    config = None if options.exits else MultiExitConfiguration("SHARED_PROJECTION_DIRECT")
    model = AutoMultiExitModel.from_pretrained(options.model, config, exits=options.exits, dtype=torch.float32).eval()
    ids = AutoTokenizer.from_pretrained(options.model)(TEXT, return_tensors="pt").input_ids[0]
    step = max(1, (len(ids) - PROMPT) // options.prompts)
    prompts = [piece[None] for piece in ids.unfold(0, PROMPT, step)[: options.prompts]]
    lower = options.lower or model.num_layers // 2
    print(f"{options.model.name}, float32, {len(prompts)} prompts of {PROMPT} tokens, {options.tokens} new ones, "
          f"{options.drafts} drafts per pass, lower layer {lower}\n")  # fmt: skip
    print("| greedy search | tokens per pass | same tokens |\n|---|--:|---|", flush=True)
    for row in rows(model, prompts, lower, options.tokens, options.drafts):
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    run(main, "prompt-lookup")
