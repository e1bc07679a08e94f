"""Decoding in bfloat16: every setting and decoder as it is, and every setting compiled, relative to plain decoding."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterator

import torch
from transformers import CompileConfig

from autocontrastive_gen.foundation.timing import relative
from benchmarks.decode import (
    Decoded,
    Subject,
    Ways,
    agreement,
    bytes_of,
    decoders,
    gpt2_medium,
    measured,
    plausible_in,
    ways_to_decode,
    with_exits,
)
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.table import Row, failure

TARGETS = {"original": 1.03, "acd": 1.05, "exit at half": 0.62, "exit at a quarter": 0.42}
SMALL = 8
"""Largest batch to which the targets apply: with more texts, reading the weights is no longer what takes the time."""


def eager(bench: Bench, batch: int) -> Iterator[Row]:
    """Every way in interleaved rounds, with the caches that transformers and the decoders choose."""
    subject, ways = _ways(bench, batch, decoders())
    usable = {}
    for name, way in ways.items():
        try:
            way()
            usable[name] = way
        except Exception as error:
            yield failure(Row("decoding", name, batch, "eager"), error)
    size = plausible_in(subject, usable["acd"]())
    found = measured(usable, bench.size.new_tokens, bench.size.rounds, bench.meter, f"eager, batch {batch}")
    for name, each in found.items():
        yield _row(bench, subject, "eager", name, each, f"mean size of V {size:.1f}" if name == "acd" else "")


def compiled(bench: Bench, batch: int) -> Iterator[Row]:
    """Every setting with a static cache and ``torch.compile``, one after the other: each has a graph of its own.

    Decoders make caches that grow, which transformers does not compile.
    """
    config = CompileConfig() if bench.meter.cuda else CompileConfig(backend="eager", mode="default")
    config._compile_all_devices = True  # transformers compiles on accelerators alone unless it is asked to
    subject, ways = _ways(bench, batch, (), cache_implementation="static", compile_config=config)
    plain: tuple[list[float], torch.Tensor] | None = None
    for name, way in ways.items():
        row = Row("decoding", name, batch, "compiled")
        if bench.over:
            yield row.without_time()
            continue
        torch.compiler.reset()
        try:
            way()  # compiles
            way()  # records CUDA graphs
            memory, text = bench.meter.peak_megabytes(way), way()
            times = [bench.meter.seconds(way) for _ in range(bench.size.rounds)]
        except Exception as error:
            yield failure(row, error)
            if plain is None:
                return
            continue
        plain = plain or (times, text)
        step = statistics.median(times) / bench.size.new_tokens
        each = Decoded(step, relative(times, plain[0]), memory, agreement(text, plain[1]))
        yield _row(bench, subject, "compiled", name, each)
    torch.compiler.reset()


def _ways(bench: Bench, batch: int, wanted: Collection[str], **options: object) -> tuple[Subject, Ways]:
    """A random model in bfloat16 whose plausible sets are as large as those of a trained one, and how it decodes."""
    tokens = bench.size.new_tokens
    subject = gpt2_medium(batch, tokens, torch.bfloat16, bench.device, shape=bench.size.shape)
    return subject, ways_to_decode(subject, with_exits(subject.model, bench.size.exits), tokens, wanted, **options)


def _row(bench: Bench, subject: Subject, mode: str, name: str, each: Decoded, note: str = "") -> Row:
    batch, rate = len(subject.prompts), bytes_of(subject.model) / each.step
    whole = name in ("plain", "original")  # reads every weight once per step
    if whole and each.agreement < 1:
        note = f"{each.agreement:.4f} of the tokens are those of plain decoding"
    return Row(
        "decoding",
        name,
        batch,
        mode,
        ms=1000 * each.step,
        relative=each.cost,
        target=TARGETS.get(name) if batch <= SMALL else None,
        tokens_per_second=batch / each.step,
        rate=f"{rate / 1e9:.1f} GB/s" if whole else "",
        share=rate / bench.bandwidth if whole else None,
        peak_megabytes=each.memory,
        note=note,
    )
