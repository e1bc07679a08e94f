"""Training of exits in bfloat16: time, memory and operations of a step, in one process or in two; and casts.

``torchrun --nproc_per_node 2 -m benchmarks.gpu.training --size full --device cuda`` prints the JSON of two processes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from transformers import GPT2LMHeadModel

from autocontrastive_gen.foundation.processes import Processes
from autocontrastive_gen.foundation.timing import Relative
from autocontrastive_gen.training.fit import fit_exits
from benchmarks.decode import gpt2_medium, with_exits
from benchmarks.gpu.bench import SIZES, Bench, Size
from benchmarks.gpu.table import Row
from benchmarks.train import casts, timed_steps

TIMEOUT = 600
"""Seconds that two processes may take."""


class Numbers:
    """A tokenizer of texts such as "17 4 23", which are the ids themselves; 0 ends a text."""

    eos_token_id = 0
    name_or_path = "numbers"

    def __call__(self, texts: Sequence[str], **_: object) -> dict[str, list[list[int]]]:
        return {"input_ids": [[int(number) for number in text.split()] for text in texts]}


@dataclass(frozen=True)
class Trained:
    """What a step costs, and what came of the steps."""

    seconds: float
    peak_megabytes: float
    losses: list[float]
    """Of each step and exit."""


def texts(size: Size, vocabulary: int) -> list[str]:
    """Random text, a block per document, that fills all steps."""
    blocks = (size.steps + 1) * size.train_batch
    ids = torch.randint(1, vocabulary, (blocks, size.block_size - 1), generator=torch.Generator().manual_seed(2))
    return [" ".join(map(str, row)) for row in ids.tolist()]


def train(bench: Bench, processes: Processes | None = None, folder: Path | None = None, parts: int = 1) -> Trained:
    """Steps of the paper's objective on every exit's own head, in ``parts`` microbatches."""
    size = bench.size
    subject = gpt2_medium(1, 1, torch.bfloat16, bench.device, unsure=True, shape=size.shape)
    model = with_exits(subject.model, size.exits)
    settings = {
        "method": "cross-entropy", "start": "copy", "cache_states": False, "bf16": True, "evaluate_every": 10**9,
        "block_size": size.block_size, "batch_size": size.train_batch, "microbatch_size": size.train_batch // parts,
        "validation_tokens": 2 * size.block_size,  # at least a block per process
    }  # fmt: skip
    documents = texts(size, model.config.vocab_size)
    fitted = []

    def fit() -> None:
        own = {"processes": processes, "folder": folder}
        fitted.append(fit_exits(model, Numbers(), documents, documents[:4], settings, seed=1, **own))

    with timed_steps(bench.meter) as times:
        peak = bench.meter.peak_megabytes(fit)
    return Trained(statistics.median(times[1:]), peak, [row["loss"] for row in fitted[0].curve])


def operations(model: GPT2LMHeadModel, size: Size) -> float:
    """Additions and multiplications that a step can't do without.

    The trunk's products and causal attention once, and two products with the output matrix per exit: the logits, and
    the matrix's gradient. The states take no gradient, because the trunk is frozen.
    """
    tokens, labels = size.train_batch * size.block_size, size.train_batch * (size.block_size - 1)
    blocks = sum(weight.numel() for weight in model.transformer.h.parameters() if weight.dim() == 2)
    attention = model.config.n_layer * model.config.n_embd * size.block_size
    heads = 2 * size.exits * model.get_output_embeddings().weight.numel()
    return 2.0 * (tokens * (blocks + attention) + labels * heads)


def one_process(bench: Bench) -> Iterator[Row]:
    """A training step relative to the peak of a matrix product."""
    size, found = bench.size, train(bench)
    model = gpt2_medium(1, 1, torch.bfloat16, bench.device, unsure=True, shape=size.shape).model
    rate = operations(model, size) / found.seconds
    yield Row(
        "training",
        f"{size.exits} exits, {size.train_batch} x {size.block_size} tokens",
        size.train_batch,
        "eager",
        ms=1000 * found.seconds,
        tokens_per_second=size.train_batch * size.block_size / found.seconds,
        rate=f"{rate / 1e12:.4g} TFLOP/s",
        share=rate / bench.peak,
        peak_megabytes=found.peak_megabytes,
        note="share of the peak: at least 0.60 is the target",
    )


def two_processes(bench: Bench) -> Iterator[Row]:
    """The same step in microbatches of half its size, in one process and in two: NCCL on GPUs, gloo on CPUs."""
    size, alone = bench.size, train(bench, parts=2)
    name = next(name for name, each in SIZES.items() if each == size)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += ["-m", "benchmarks.gpu.training", "--size", name, "--device", bench.device]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=TIMEOUT)
    together = Trained(**json.loads(result.stdout.splitlines()[-1]))
    pairs = zip(alone.losses, together.losses, strict=True)
    apart = max(abs(one - other) / abs(one) for one, other in pairs)
    for case, found in (("one process", alone), ("two processes", together)):
        yield Row(
            "processes",
            case,
            size.train_batch,
            "eager",
            ms=1000 * found.seconds,
            relative=Relative(*[found.seconds / alone.seconds] * 3),
            tokens_per_second=size.train_batch * size.block_size / found.seconds,
            peak_megabytes=found.peak_megabytes,
            note=f"losses differ by at most {apart:.1e} of their size" if found is together else "",
        )


def fits_of_casts(bench: Bench) -> Iterator[Row]:
    """Casts of all exits in one pass over the text, relative to running each prefix once per layer."""
    size, tokens = bench.size, 64
    model = with_exits(gpt2_medium(1, 1, torch.bfloat16, bench.device, unsure=True, shape=size.shape).model, size.exits)
    generator = torch.Generator().manual_seed(3)
    blocks = torch.randint(1, model.config.vocab_size, (size.sequences, tokens), generator=generator)
    casts(model, blocks[:32], model.exit_layers, 1, meter=bench.meter)  # a warm-up
    ours, theirs = casts(model, blocks, model.exit_layers, 1, meter=bench.meter)
    note = f"{size.sequences} texts, {len(model.exit_layers)} layers"
    yield Row("casts", "prefixes", None, "eager", 1000 * theirs, Relative(1, 1, 1), note=note)
    found = Relative(*[ours / theirs] * 3)
    rate = size.sequences * tokens / ours
    yield Row("casts", "one pass", None, "eager", 1000 * ours, found, 0.02, tokens_per_second=rate, note=note)


def main() -> None:
    """The steps of one of several processes; the first one prints what it measured."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", choices=SIZES, required=True)
    parser.add_argument("--device", required=True)
    options = parser.parse_args()
    processes = Processes.start()
    bench = Bench(SIZES[options.size], str(processes.device), minutes=TIMEOUT / 60)
    shared = [tempfile.mkdtemp() if processes.main else ""]
    torch.distributed.broadcast_object_list(shared)
    try:
        found = train(bench, processes, Path(shared[0]), processes.world)
        processes.wait()
        if processes.main:
            print(json.dumps(asdict(found)), flush=True)
    finally:
        if processes.main:  # its checkpoints take gigabytes
            shutil.rmtree(shared[0], ignore_errors=True)
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
