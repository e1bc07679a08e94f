"""What training costs: casts against running prefixes again, sampled against full softmax, chunked against plain loss.

    python -m benchmarks.train --model runs/laptop/fetch/smollm2 --text runs/laptop/prepare [--only cast sampled loss]

CPU seconds of this process on one thread (``OMP_NUM_THREADS`` overrides); medians of interleaved pairs. Sizes are
arguments, so that a faster machine can do more.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import torch
import torch.nn.functional as F

from autocontrastive_gen.foundation.commands import run
from autocontrastive_gen.foundation.environment import threads
from autocontrastive_gen.foundation.files import read_jsonl
from autocontrastive_gen.foundation.timing import Meter
from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration
from autocontrastive_gen.pipeline.train_cell import read_texts
from autocontrastive_gen.training.cast import NormalEquations
from autocontrastive_gen.training.corpus import TokenBlocks, write_blocks
from autocontrastive_gen.training.fit import fit_exits
from autocontrastive_gen.training.loop import Loop
from autocontrastive_gen.training.objective import Projection, cross_entropy
from autocontrastive_gen.training.quality import pooled_perplexity

CPU = Meter("cpu")

LAPTOP = {
    "cast": {"tokens": 10**9},
    "sampled_softmax": {"frequent": 1024, "negatives": 2048},
    "evaluate_every": 10**9,
    "validation_tokens": 4096,
}
"""What the laptop profile changes in the default settings, with measuring in mind."""


def load(path: str, layers: tuple[int, ...] | None = None):
    from transformers import AutoConfig, AutoTokenizer

    layers = layers or tuple(range(1, AutoConfig.from_pretrained(path).num_hidden_layers))
    configuration = MultiExitConfiguration("SHARED_PROJECTION_CAST_OUTPUTS", layers)
    model = AutoMultiExitModel.from_pretrained(path, multi_exit_config=configuration, dtype=torch.float32)
    return model.eval(), AutoTokenizer.from_pretrained(path)


# casts ------------------------------------------------------------------------------------------------------------
@torch.no_grad()
def casts(
    model, blocks: torch.Tensor, layers: tuple[int, ...], rerun: int, vectors: int = 5, meter: Meter = CPU
) -> tuple[float, float]:
    """Seconds for the casts of ``layers`` from ``vectors`` positions of each block: in one pass, and by prefixes.

    The second way runs the prefix of each position once for each layer, as the reference does; it is timed on the
    first ``rerun`` blocks and scaled to all, its least squares on all rows.
    """
    final, width, device = model.num_layers, model.config.hidden_size, model.device
    blocks = blocks.to(device)
    positions = torch.stack([1 + torch.randperm(blocks.shape[1] - 1)[:vectors] for _ in blocks]).to(device)

    def one_pass() -> None:
        equations = NormalEquations(layers, width, device)
        for tokens, at in zip(blocks.split(32), positions.split(32), strict=True):
            states = model.exit_states(tokens, layers=(*layers, final))
            rows = {layer: x.take_along_dim(at[..., None], 1).flatten(0, 1) for layer, x in states.items()}
            equations.add(rows, rows[final])
        equations.solve(0.001)

    def prefixes() -> None:
        for layer in layers:
            for tokens, at in zip(blocks[:rerun], positions, strict=False):
                for position in at.tolist():
                    model.exit_states(tokens[None, : position + 1], layers=(layer, final))

    def solves() -> None:
        x = torch.randn(len(blocks) * vectors, width, device=device)
        for _ in layers:
            torch.linalg.lstsq(x, x)

    return meter.seconds(one_pass), meter.seconds(prefixes) * len(blocks) / rerun + meter.seconds(solves)


def report_casts(model, blocks: torch.Tensor, rerun: int) -> None:
    every = tuple(range(1, model.num_layers))
    for layers in (every, every[-16::4]):
        ours, theirs = casts(model, blocks, layers, rerun)
        say(f"casts of {len(layers)} layers, {len(blocks)} sequences of {blocks.shape[1]} tokens, 5 positions each")
        times = f"one pass {ours:.1f} CPU-s, prefixes once a layer {theirs:.0f} CPU-s"
        goal = " (goal: >= 50)" if layers == every else ""
        say(f"  {times}: {theirs / ours:.0f} times{goal}")


# sampled softmax ----------------------------------------------------------------------------------------------------
VARIANTS = {
    "sampled": {},
    "full": {"sampled_softmax": None},
    "full, bf16": {"sampled_softmax": None, "bf16": True},
    "least squares": {"method": "least-squares"},
}
"""Changes to the recipe."""


def report_sampled(path: str, text: Path, tokens: int, layer: int) -> None:
    """The recipe with the sampled and with the full vocabulary: held-out perplexity and CPU time of a step."""
    rows = read_jsonl(text / "validation.jsonl")
    validation = {name: [r["text"] for r in rows if r["domain"] == name] for name in {r["domain"] for r in rows}}
    seconds, pooled = {}, {}
    for name, changes in VARIANTS.items():
        model, tokenizer = load(path, (layer,))
        settings = {**LAPTOP, **changes}
        with timed_steps() as times:
            fitted = fit_exits(model, tokenizer, read_texts(text / "text"), validation, settings, tokens=tokens, seed=1)
        seconds[name], pooled[name] = statistics.median(times or [0.0]), pooled_perplexity(fitted.quality, layer)
        shown = ", ".join(f"{key} {fitted.quality[key][str(layer)]['perplexity']:.1f}" for key in sorted(validation))
        say(f"layer {layer}, {tokens} tokens, {name}: {shown}; {len(times)} steps of {seconds[name]:.3f} CPU-s")
    full = pooled["full"]
    say(f"  a sampled step is {seconds['full'] / seconds['sampled']:.1f} times cheaper (goal: >= 5)")
    say(f"  held-out perplexity {pooled['sampled'] / full - 1:+.2%} of the full one's (goal: at most 1 % worse)")
    say(f"  with bf16 products {pooled['full, bf16'] / full - 1:+.3%} (goal: within 0.5 %)")


@contextmanager
def timed_steps(meter: Meter = CPU) -> Iterator[list[float]]:
    """Seconds of each gradient step that is taken inside the block."""
    step, times = Loop.take_step, []

    def timed(loop: Loop) -> torch.Tensor:
        losses = []
        times.append(meter.seconds(lambda: losses.append(step(loop))))
        return losses[0]

    with mock.patch.object(Loop, "take_step", timed):
        yield times


# full vocabulary --------------------------------------------------------------------------------------------------
class Heads:
    """A step of the paper's objective on random states: ``exits`` heads of GPT2-medium's shape, one after the other.

    They share one matrix and its gradient, which a step holds beside what is measured here.
    """

    def __init__(self, rows: int, exits: int, vocabulary: int = 50257, width: int = 1024) -> None:
        torch.manual_seed(0)
        self.weight = torch.nn.Parameter(torch.randn(vocabulary, width) * 0.02)
        self.weight.grad = torch.zeros_like(self.weight)
        self.labels = torch.randint(vocabulary, (rows,))
        self.before = peak_bytes()
        self.states = [torch.randn(rows, width) for _ in range(exits)]

    def chunked(self, exits: int, bf16: bool = False) -> None:
        for states in self.states[:exits]:
            (cross_entropy(states, Projection(self.weight), self.labels, bf16) / len(self.labels)).backward()

    def paper_time(self) -> None:
        sum(F.cross_entropy(F.linear(states, self.weight), self.labels) for states in self.states).backward()


def report_memory(rows: int) -> None:
    heads = Heads(rows, exits=12)
    heads.chunked(1)  # the exits' logits come one after the other: the first shows the peak of all
    peaks = [peak_bytes()]
    for i, states in enumerate(heads.states):
        heads.states[i] = states.bfloat16()  # as they come from the cache
    heads.chunked(1, bf16=True)
    peaks.append(peak_bytes())
    full, narrow = ((peak - heads.before) / 2**30 for peak in peaks)
    say(f"12 exits, {rows} tokens, vocabulary 50257: peak above weights and gradients {full:.2f} GiB, states included")
    say(f"  with bf16 products {narrow:.2f} GiB (goal: <= 1)")


def report_loss(rows: int, exits: int, pairs: int) -> None:
    heads = Heads(rows, exits)
    columns = [
        (
            CPU.seconds(lambda: heads.chunked(exits)),
            CPU.seconds(heads.paper_time),
            CPU.seconds(lambda: heads.chunked(exits, bf16=True)),
        )
        for _ in range(pairs)
    ]
    ours, theirs, narrow = (statistics.median(column) for column in zip(*columns, strict=True))
    say(f"{exits} exits, {rows} tokens, vocabulary 50257, width 1024, float32")
    say(f"  chunked {ours:.1f} CPU-s, paper-time {theirs:.1f}: {ours / theirs:.2f} of it (goal: <= 1.05)")
    say(f"  bf16 products {narrow:.1f} CPU-s: {ours / narrow:.1f} times faster (goal: >= 1.8 with bf16 instructions)")


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def say(line: str) -> None:
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="runs/laptop/fetch/smollm2")
    parser.add_argument("--text", type=Path, default=Path("runs/laptop/prepare"))
    parser.add_argument("--only", nargs="+", choices=("cast", "sampled", "loss", "memory"))
    parser.add_argument("--sequences", type=int, default=160, help="sequences of the cast benchmark")
    parser.add_argument("--tokens", type=int, default=24_000, help="training tokens of the sampled softmax's")
    parser.add_argument("--layer", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(threads(1))
    wanted = arguments.only or ("memory", "loss", "cast", "sampled")
    if "memory" in wanted:  # first: the peak of a process never falls
        report_memory(16 * 512)
    if "loss" in wanted:
        report_loss(4 * 512, 4, arguments.pairs)
    if "cast" in wanted:
        model, tokenizer = load(arguments.model)
        with tempfile.TemporaryDirectory() as folder:
            path, size = Path(folder) / "blocks", 64
            write_blocks(path, read_texts(arguments.text / "text"), tokenizer, size, size * arguments.sequences)
            report_casts(model, TokenBlocks(path, size)[:], rerun=1)
    if "sampled" in wanted:
        report_sampled(arguments.model, arguments.text, arguments.tokens, arguments.layer)


if __name__ == "__main__":
    run(main, "benchmarks.train")
