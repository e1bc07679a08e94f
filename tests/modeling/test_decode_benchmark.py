"""The benchmark of decoding, run for real on the smoke model."""

import sys

import pytest
import torch

from autocontrastive_gen.generation.decoder import DECODERS
from benchmarks import decode


def test_it_prints_a_row_for_every_way_of_decoding(smoke_model_folder, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["decode", "--quick", "--model", str(smoke_model_folder), "--device", "cpu"])
    threads = torch.get_num_threads()
    try:
        decode.main()
    finally:
        torch.set_num_threads(threads)
    lines = [
        line.strip("|").split("|") for line in capsys.readouterr().out.splitlines() if line.startswith("| model |")
    ]
    header, *rows = [[cell.strip() for cell in line] for line in lines]
    assert header[3] == "decoding"
    assert [row[3] for row in rows] == ["plain", *decode.TARGETS, *dict(decode.contrasts()), *decode.decoders()]
    assert set(DECODERS) < set(decode.decoders())
    by_name = {row[3]: row for row in rows}
    assert float(by_name["acd"][7]) >= 1  # |V|
    assert all(float(row[4]) > 0 for row in rows)


def test_exits_are_spread_and_hold_half_and_a_quarter():
    model = decode.GPT2LMHeadModel(decode.GPT2Config(n_embd=16, n_layer=24, n_head=2, vocab_size=50)).eval()
    for count in (4, 12):
        exits = decode.with_exits(model, count)
        assert len(exits.exit_layers) == count and {6, 12} <= set(exits.exit_layers) <= set(range(1, 24))
        assert exits.transformer.wte.weight is model.transformer.wte.weight  # no second copy of the weights


def test_a_missing_model_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["decode", "--quick", "--model", str(tmp_path)])
    with pytest.raises(OSError, match="no model in this folder; `dvc repro fetch` makes it"):
        decode.main()
