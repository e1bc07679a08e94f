"""What scoring with contrast costs through lm-eval's adapter, relative to the original head in the same process.

Each round scores the same requests once with every setting, in a rotating order; the ratio is taken within its round,
and the table gives the median of the rounds and their interquartile range. Time is the process's CPU time, or the
device's on a GPU. The plausible sets depend on the upper exit alone, so untrained lower exits cost
what trained ones do.
"""

from __future__ import annotations

import argparse
import functools
import statistics
from collections.abc import Iterator
from pathlib import Path

import torch

from autocontrastive_gen.foundation.commands import run
from autocontrastive_gen.foundation.timing import Meter, Relative, relative, rounds

TARGET = 1.15
LENGTHS = ((56, 63), (8, 72))
"""Shortest and longest context of a batch, in words: neighbours in a task sorted by length, and very unlike ones."""
TEXT = """The museum opened its new wing on Saturday with an exhibition about the history of the river. For a thousand
years people had fished it, dammed it, and carried grain and timber along it; in the nineteenth century they turned it
into a canal. The curator, who grew up beside the lock, said that the oldest map in the collection was found behind a
cupboard in the harbour office. Visitors can see a model of the first steam boat and listen to letters which a young
engineer wrote to his sister. Outside, the city has planted willows where the warehouses used to stand."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("runs/laptop/fetch/smollm2"), help="folder of a model")
    parser.add_argument("--lower", type=int, help="lower exit (default: half the layers)")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8], help="batch sizes")
    parser.add_argument("--requests", type=int, default=8, help="requests per round")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    options = parser.parse_args()
    if not (options.model / "config.json").is_file():
        raise OSError(f"--model {options.model}: no model in this folder; `dvc repro fetch` makes it, or name another")
    return options


def requests(count: int, shortest: int, longest: int) -> list:
    """Contexts of ``shortest`` to ``longest`` words, each with 6 words to score."""
    from lm_eval.api.instance import Instance

    words = TEXT.split()
    cuts = [round(shortest + i * (longest - shortest) / max(1, count - 1)) for i in range(count)]
    pairs = [(" ".join(words[:cut]), f" {' '.join(words[cut : cut + 6])} {i}") for i, cut in enumerate(cuts)]
    return [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]


def measured(
    lm, lower: int, batches: list[int], count: int, pairs: int, meter: Meter
) -> Iterator[tuple[str, int, str, Relative, float]]:
    """Words of the contexts, batch, setting, cost relative to the original head, and seconds per round.

    Args:
        lm: a ``MultiExitLM`` with an exit at the layer ``lower``.
        count: requests per round.
        pairs: rounds.
    """
    settings = {"original": {}, "acd": {"contrast_layer_indices": ("original", lower)}}

    def score(setting: str, asked: list) -> None:
        with lm.model.set_exits(**settings[setting]):
            lm.loglikelihood(asked, disable_tqdm=True)

    for words in LENGTHS:
        asked, label = requests(count, *words), f"{words[0]} to {words[1]}"
        ways = {name: functools.partial(score, name, asked) for name in settings}
        for lm.batch_size_per_gpu in batches:
            for warm_up in ways.values():
                warm_up()
            times = rounds(ways, pairs, meter, f"{label} | {lm.batch_size_per_gpu}")
            for name, spent in times.items():
                cost = relative(spent, times["original"])
                yield label, lm.batch_size_per_gpu, name, cost, statistics.median(spent)


def main() -> None:
    options = arguments()
    from autocontrastive_gen.evaluation.lm_eval_harness.adapter import MultiExitLM

    torch.set_num_threads(options.threads)
    mode = "SHARED_PROJECTION_CAST_OUTPUTS"
    config = {"vocab_projection_mode": mode, "lm_head_layer_indices": str(options.lower or _half(options.model))}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    lm = MultiExitLM(pretrained=str(options.model), device=device, dtype=options.dtype, batch_size=1, **config)
    print(
        "| context words | batch | setting | relative to original | interquartile range | seconds per round | target |"
    )
    print("|---|---|---|---|---|---|---|")
    lower = lm.model.exit_layers[0]
    for words, batch, name, cost, each in measured(
        lm, lower, options.batch, options.requests, options.rounds, Meter(device)
    ):
        target, interval = "" if name == "original" else f"<= {TARGET}", f"{cost.low:.3f} to {cost.high:.3f}"
        print(f"| {words} | {batch} | {name} | {cost.median:.3f} | {interval} | {each:.3f} | {target} |", flush=True)


def _half(folder: Path) -> int:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(folder).get_text_config().num_hidden_layers // 2


if __name__ == "__main__":
    run(main, "scoring")
