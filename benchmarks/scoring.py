"""What scoring with contrast costs through lm-eval's adapter, relative to the original head in the same process.

Each round scores the same requests once with every setting, in a rotating order; the ratio is taken within its round,
and the table gives the median of the rounds and their interquartile range. Time is the process's CPU time, or the
device's on a GPU. The plausible sets hang on the upper exit alone, so untrained lower exits cost what trained ones do.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch
from tqdm import tqdm

from autocontrastive_gen.experiment import cli

TARGET = 1.15
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
    parser.add_argument("--requests", type=int, default=8, help="requests a round")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    options = parser.parse_args()
    if not (options.model / "config.json").is_file():
        raise OSError(f"--model {options.model}: no model in this folder; `dvc repro fetch` makes it, or name another")
    return options


def requests(count: int) -> list:
    """Contexts of 56 to 63 words, as unlike as neighbours in a task sorted by length, each with 6 words to score."""
    from lm_eval.api.instance import Instance

    words = TEXT.split()
    cuts = [56 + i % 8 for i in range(count)]
    pairs = [(" ".join(words[:cut]), f" {' '.join(words[cut : cut + 6])} {i}") for i, cut in enumerate(cuts)]
    return [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]


def seconds(work, cuda: bool) -> float:
    """Device time on a GPU, else CPU time."""
    if not cuda:
        start = time.process_time()
        work()
        return time.process_time() - start
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    work()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1000


def main() -> None:
    options = arguments()
    from autocontrastive_gen.evaluation.lm_eval_harness.adapter import MultiExitLM

    torch.set_num_threads(options.threads)
    cuda = torch.cuda.is_available()
    mode = "SHARED_PROJECTION_CAST_OUTPUTS"
    config = {"vocab_projection_mode": mode, "lm_head_layer_indices": str(options.lower or _half(options.model))}
    device = "cuda" if cuda else "cpu"
    lm = MultiExitLM(pretrained=str(options.model), device=device, dtype=options.dtype, batch_size=1, **config)
    lower = lm.model.exit_layers[0]
    settings = {"original": {}, "acd": {"contrast_layer_indices": ("original", lower)}}
    asked = requests(options.requests)
    print("| batch | setting | relative to original | interquartile range | seconds a round | target |")
    print("|---|---|---|---|---|---|")
    for batch in options.batch:
        lm.batch_size_per_gpu = batch
        times: dict[str, list[float]] = {name: [] for name in settings}
        for number in tqdm(range(-1, options.rounds), desc=f"batch {batch}", disable=None):
            for name in sorted(settings, reverse=bool(number % 2)):
                with lm.model.set_exits(**settings[name]):
                    spent = seconds(lambda: lm.loglikelihood(asked, disable_tqdm=True), cuda)
                if number >= 0:  # the first round warms up
                    times[name].append(spent)
        for name, spent in times.items():
            ratios = [a / b for a, b in zip(spent, times["original"], strict=True)]
            low, _, high = statistics.quantiles(ratios, n=4)
            target = "" if name == "original" else f"<= {TARGET}"
            median, each = statistics.median(ratios), statistics.median(spent)
            print(f"| {batch} | {name} | {median:.3f} | {low:.3f} to {high:.3f} | {each:.3f} | {target} |", flush=True)


def _half(folder: Path) -> int:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(folder).get_text_config().num_hidden_layers // 2


if __name__ == "__main__":
    cli.run(main, "scoring")
