"""The benchmark of a GPU, run for real on a CPU at a size at which everything takes milliseconds."""

import importlib.metadata
import json
import sys

import pytest
import torch

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.foundation.timing import Relative
from benchmarks import decode, scoring
from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import decoding, table, training
from benchmarks.gpu.bench import SIZES, Bench

TINY = SIZES["tiny"]


def run(monkeypatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["bench-gpu", *arguments])
    threads = torch.get_num_threads()
    try:
        gpu.main()
    finally:
        torch.set_num_threads(threads)


@pytest.mark.slow
def test_every_part_leaves_its_rows(tmp_path, monkeypatch):
    run(monkeypatch, "--device", "cpu", "--size", "tiny", "--output", str(tmp_path))
    written = json.loads((tmp_path / "table.json").read_text())
    rows = {(row["part"], row["mode"], row["batch"], row["case"]): row for row in written["rows"]}
    assert len(rows) == len(written["rows"])
    settings = ["plain", *decode.settings(4)]
    expected = [("machine", "", None, case) for case in ("copy", "product in bfloat16")]
    expected += [("training", "eager", 4, "3 exits, 4 x 16 tokens")]
    for batch in TINY.batches:
        expected += [("decoding", "eager", batch, case) for case in (*settings, *decode.decoders())]
        expected += [("decoding", "compiled", batch, case) for case in settings]
    kinds = ("float32", "bfloat16")
    expected += [("logits", "eager", 8, f"{case}, {kind}") for kind in kinds for case in decode.settings(4)]
    expected += [("casts", "eager", None, case) for case in ("prefixes", "one pass")]
    words = [f"{low} to {high} words" for low, high in scoring.LENGTHS]
    expected += [("scoring", w, n, case) for w in words for n in TINY.batches for case in ("original", "acd")]
    expected += [("processes", "eager", 4, case) for case in ("one process", "two processes")]
    assert set(rows) == set(expected)
    for (part, *_), row in rows.items():
        assert not row["failed"]
        assert part in ("machine", "logits") or row["ms"] > 0
    assert all("at 1.0000 of" in row["note"] for (*_, case), row in rows.items() if case.endswith(", float32"))
    assert 0 < rows["training", "eager", 4, "3 exits, 4 x 16 tokens"]["share"] < 1
    losses_apart = float(rows["processes", "eager", 4, "two processes"]["note"].split()[5])
    assert losses_apart < 1e-3
    assert written["machine"]["torch"] == importlib.metadata.version("torch")
    assert (tmp_path / "table.md").read_text().count("\n| ") == len(rows) + 1


def test_without_a_gpu_the_message_says_what_works(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="--device cuda: torch sees no GPU here; `--device cpu --size tiny`"):
        run(monkeypatch, "--output", str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_failed_part_leaves_a_row_and_an_exit_code(tmp_path, monkeypatch, capsys):
    def broken(bench):
        yield table.Row("first", "works", ms=1.0)
        raise RuntimeError("out of | memory")

    def sound(bench):
        yield table.Row("second", "works", ms=2.0)

    monkeypatch.setattr(gpu, "parts", lambda bench: [("broken", broken), ("sound", sound)])
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "--device", "cpu", "--size", "tiny", "--output", str(tmp_path))
    assert ended.value.code == 1
    rows = json.loads((tmp_path / "table.json").read_text())["rows"]
    assert [(row["part"], row["failed"]) for row in rows] == [("first", False), ("broken", True), ("second", False)]
    assert "failed: RuntimeError: out of \\| memory" in (tmp_path / "table.md").read_text()
    assert "Traceback" in capsys.readouterr().err


def test_when_the_time_is_over_nothing_new_begins():
    bench = Bench(TINY, "cpu", minutes=0)
    rows = list(gpu.rows(bench))
    assert [row.part for row in rows] == [name for name, _ in gpu.parts(bench)]
    assert {row.note for row in rows} == {"left out: no time was left"}


def test_a_way_that_cannot_run_leaves_the_others(monkeypatch):
    def ways(*arguments, **options):
        real = decode.ways_to_decode(*arguments, **options)
        return {"plain": real["plain"], "acd": real["acd"], "cd": lambda: torch.zeros(0) @ torch.zeros(1)}

    monkeypatch.setattr(decoding, "ways_to_decode", ways)
    monkeypatch.setattr("benchmarks.gpu.bench.copy_bandwidth", lambda *_: 10.0)
    rows = list(decoding.eager(Bench(TINY, "cpu", 5), batch=1))
    assert {row.case: row.failed for row in rows} == {"cd": True, "plain": False, "acd": False}


def test_operations_are_those_that_torch_counts():
    """Torch counts the square of attention, of which causal attention needs half."""
    from torch.utils.flop_counter import FlopCounterMode, mm_flop

    bench = Bench(TINY, "cpu", 5)
    model = decode.gpt2_medium(1, 1, torch.bfloat16, "cpu", unsure=True, shape=TINY.shape).model
    needed = training.operations(model, TINY)

    def added_in_place(total, one, other, **_):
        return mm_flop(one, other)

    # a CPU without products in bfloat16 adds up the gradient in place, which torch leaves out
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: added_in_place}) as whole:
        training.train(bench)
    # besides the steps, the exits are measured twice: three steps, and no other backward pass
    assert 1 < whole.get_total_flops() / (3 * needed) < 1.6


def test_a_row_shows_what_was_measured():
    row = table.Row("decoding", "acd", 8, "eager", 1.5, Relative(1.04, 1.03, 1.06), 1.05, 5333.3, share=0.5)
    assert row.cells() == [
        "decoding", "acd", "8", "eager", "1.500", "1.040 [1.030, 1.060]", "<= 1.05", "5333", "", "0.500", "", "",
    ]  # fmt: skip
    assert len(row.cells()) == len(table.HEADER)


def test_the_machine_is_named_without_host_or_path(tmp_path):
    facts = table.machine("cpu", tmp_path)
    assert facts["commit"] == "unknown"
    assert str(tmp_path) not in json.dumps(facts) and "/" not in str(facts["device"])
