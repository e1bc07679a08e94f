"""The benchmark of scoring, run for real on the smoke model."""

import sys

import pytest
import torch

from benchmarks import scoring


def test_it_prints_even_and_uneven_lengths(smoke_model_folder, monkeypatch, capsys):
    arguments = ["--model", str(smoke_model_folder), "--rounds", "2", "--requests", "3", "--batch", "2"]
    monkeypatch.setattr(sys, "argv", ["scoring", *arguments])
    threads = torch.get_num_threads()
    try:
        scoring.main()
    finally:
        torch.set_num_threads(threads)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][1:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [row[:3] for row in rows] == [
        [f"{low} to {high}", "2", name] for low, high in scoring.LENGTHS for name in ("original", "acd")
    ]
    assert all(float(row[3]) > 0 and float(row[5]) > 0 for row in rows)


def test_lengths_of_contexts():
    for low, high in scoring.LENGTHS:
        words = [len(request.args[0].split()) for request in scoring.requests(8, low, high)]
        assert (min(words), max(words)) == (low, high)
        assert all(len(request.args[1].split()) == 7 for request in scoring.requests(8, low, high))


def test_a_missing_model_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["scoring", "--model", str(tmp_path)])
    with pytest.raises(OSError, match="no model in this folder; `dvc repro fetch` makes it"):
        scoring.main()
