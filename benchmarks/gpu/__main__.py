"""Everything whose speed on a GPU matters, with random weights and without a network, in one table.

    python -m benchmarks.gpu                          # GPT2-medium's shape, at most 25 minutes on an H100
    python -m benchmarks.gpu --device cpu --size tiny --output <folder>

Each part is measured in rounds of its own; the rows of one part, batch and mode can be compared. A part that fails
leaves a row that says so, and the command ends with exit code 1.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from transformers import AutoTokenizer

from autocontrastive_gen.foundation.commands import run
from autocontrastive_gen.foundation.environment import cores, threads
from autocontrastive_gen.foundation.errors import InputError
from benchmarks import scoring
from benchmarks.decode import gpt2_medium, with_exits
from benchmarks.gpu import decoding, logits, training
from benchmarks.gpu.bench import SIZES, Bench
from benchmarks.gpu.table import HEADER, Row, failure, line, machine, write

ROOT = Path(__file__).resolve().parents[2]
TOKENIZER = ROOT / "tests" / "fixtures" / "smoke" / "model"
MINUTES = 22.0
"""After these, no measurement begins: the one that runs then has three minutes to end."""

Part = Callable[[Bench], Iterator[Row]]


def rates(bench: Bench) -> Iterator[Row]:
    """What the machine attains where nothing but bytes, or nothing but products, takes time."""
    yield Row("machine", "copy", rate=f"{bench.bandwidth / 1e9:.1f} GB/s", share=1.0)
    yield Row("machine", "product in bfloat16", rate=f"{bench.peak / 1e12:.4g} TFLOP/s", share=1.0)


def scores(bench: Bench) -> Iterator[Row]:
    """Scoring through lm-eval's adapter, relative to the original head."""
    from autocontrastive_gen.evaluation.lm_eval_harness.adapter import MultiExitLM

    subject = gpt2_medium(1, bench.size.new_tokens, torch.bfloat16, bench.device, shape=bench.size.shape)
    model = with_exits(subject.model, bench.size.exits)
    lm = MultiExitLM(pretrained=model, tokenizer=AutoTokenizer.from_pretrained(TOKENIZER), batch_size=1)
    batches = [size for size in bench.size.batches if size <= 8]
    asked = (lm, model.num_layers // 2, batches, 8, bench.size.rounds, bench.meter)
    for words, batch, name, cost, seconds in scoring.measured(*asked):
        target = scoring.TARGET if name == "acd" else None
        yield Row("scoring", name, batch, f"{words} words", 1000 * seconds, cost, target)


def parts(bench: Bench) -> Iterator[tuple[str, Part]]:
    """The parts, the most important ones first."""
    yield "machine", rates
    yield "training", training.one_process
    yield from ((f"decoding, batch {n}", functools.partial(decoding.eager, batch=n)) for n in bench.size.batches)
    yield "logits", logits.against_the_cpu
    yield "casts", training.fits_of_casts
    yield "scoring", scores
    if not bench.meter.cuda or torch.cuda.device_count() > 1:
        yield "processes", training.two_processes
    yield from (
        (f"decoding, batch {n}, compiled", functools.partial(decoding.compiled, batch=n)) for n in bench.size.batches
    )


def rows(bench: Bench) -> Iterator[Row]:
    """The rows of the table, each as soon as it is measured."""
    for name, part in parts(bench):
        if bench.over:
            yield Row(name, "all").without_time()
            continue
        try:
            yield from part(bench)
        except Exception as error:
            yield failure(Row(name, "all"), error)


def main() -> None:
    """Print the rows, and write the table after each of them: what was measured survives a kill."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="(default: %(default)s)")
    parser.add_argument("--size", choices=SIZES, default="full", help="(default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="when to begin nothing new (default: 22)")
    parser.add_argument("--output", type=Path, default=ROOT / "reports" / "gpu", help="folder (default: reports/gpu)")
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(
            "--device cuda: torch sees no GPU here; `--device cpu --size tiny` tries the same code without"
        )
    torch.set_num_threads(threads(cores() if options.device.startswith("cuda") else 1))
    bench = Bench(SIZES[options.size], options.device, options.minutes)
    facts, found = {"size": options.size, **machine(options.device, ROOT)}, []
    print(line(HEADER), flush=True)
    for row in rows(bench):
        found.append(row)
        print(line(row.cells()), flush=True)
        write(options.output, facts, found)
    if failed := sum(row.failed for row in found):
        print(f"{failed} rows failed; their tracebacks are above", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    run(main, "bench-gpu")
