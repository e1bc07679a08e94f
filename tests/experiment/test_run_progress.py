"""How far a run is, told from the cells that are done."""

import os
import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest

from autocontrastive_gen.experiment import run_progress
from autocontrastive_gen.experiment.outdated import dvc_name
from autocontrastive_gen.experiment.params import load_params
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.experiment.plan import write_plan
from autocontrastive_gen.experiment.run_progress import RunProgress, expected_seconds, roughly
from autocontrastive_gen.foundation.files import write_json

CELLS = [("prepare",), ("train", "a"), ("select", "a"), ("generate", "a", "x"), ("generate", "a", "y"), ("score", "a")]


def progress(tmp_path, **fields) -> RunProgress:
    expected = {dvc_name(cell): 60.0 for cell in CELLS}
    return RunProgress(tmp_path / "run.json", expected, list(CELLS), **fields)


def test_the_plan_counts_cells_by_stage(tmp_path):
    assert progress(tmp_path).plan == "6 cells, about 6 minutes: prepare, train, select, 2 × generate, score"


def test_position_counts_what_is_done_and_what_dvc_skipped(tmp_path):
    assert (
        progress(tmp_path, done=[("prepare",), ("train", "a")], busy_s=120).position == "2 of 6, about 4 minutes left"
    )
    skipped = progress(tmp_path, done=[("generate", "a", "x")], busy_s=60)
    assert skipped.position == "4 of 6, about 2 minutes left", "it reads from those before it, which were up to date"
    assert progress(tmp_path, done=[("score", "a")]).position == "6 of 6"


def test_the_rest_is_corrected_by_how_long_the_others_took(tmp_path):
    slow = progress(tmp_path, done=[("prepare",), ("train", "a")], busy_s=120 + 150)
    assert slow.seconds_left == pytest.approx(240 * (270 + 30) / (120 + 30))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1, "5 seconds"), (42, "40 seconds"), (70, "1 minute"), (400, "7 minutes"), (9000, "2.5 hours")],
)
def test_durations_are_one_number(seconds, words):
    assert roughly(seconds) == words


def test_cells_of_a_run_share_what_they_know(project, monkeypatch):
    monkeypatch.setattr(run_progress, "FOLDER", project / "progress")
    monkeypatch.setattr(run_progress, "_estimates", lambda: {})
    write_plan(load_params())
    run = f"{os.getpid()}-{psutil.Process().create_time():.0f}"
    write_json(project / "progress" / "1-1.json", {})  # of a run that is over
    cell = ("fetch",)
    first, is_first = RunProgress.of("smoke", cell, run)
    assert is_first and first.plan.startswith("12 cells")
    first.finish(cell)
    assert not (project / "progress" / "1-1.json").exists()
    second, is_first = RunProgress.of("smoke", ("prepare",), run)
    assert not is_first and second.done == [cell] and second.position.startswith("1 of 12")
    stranger = RunProgress.of("smoke", ("generate", "tiny", "beam"), run)[0]
    assert len(stranger.order) == 13, "a cell that the plan did not foresee is added to it"


def test_times_of_an_earlier_run_are_expected_again(project, monkeypatch):
    monkeypatch.setattr(run_progress, "_estimates", lambda: {("generate", "tiny", "beam"): 7.0})
    paths = Paths("smoke")
    write_json(paths.cost("train", "tiny"), {"wall_s": 100.0})
    write_json(paths.reports / "cost.json", {"cells": {"score-tiny": {"wall_s": 50.0}, "train-tiny": {"wall_s": 1.0}}})
    cells = [("train", "tiny"), ("score", "tiny"), ("generate", "tiny", "beam"), ("track",)]
    found = expected_seconds(cells, paths)
    between = run_progress.BETWEEN_S
    assert found == {
        "train@tiny": 100 + between,
        "score@tiny": 50 + between,
        "generate@tiny-beam": 7 + between,
        "track": run_progress.USUAL_S + between,
    }


def test_a_cell_started_by_hand_has_no_run(monkeypatch):
    monkeypatch.delenv("DVC_STAGE", raising=False)
    assert run_progress.current_run() is None


@pytest.mark.parametrize(("options", "run"), [(["score"], "7-5"), (["-s", "score"], None), (["--single-item"], None)])
def test_of_cells_that_run_one_by_one_each_is_on_its_own(monkeypatch, options, run):
    dvc = SimpleNamespace(pid=7, create_time=lambda: 5.2, cmdline=lambda: ["python", "/bin/dvc", "repro", *options])
    monkeypatch.setenv("DVC_STAGE", "score")
    monkeypatch.setattr("psutil.Process", lambda: SimpleNamespace(parents=lambda: [dvc]))
    assert run_progress.current_run() == run


SPOILT = """
from autocontrastive_gen.experiment import run_progress
from autocontrastive_gen.experiment.cell_command import cell_of_run
run_progress.current_run = lambda: "run"
with cell_of_run("smoke", "prepare") as outcome:
    outcome.append("6 prompts")
"""


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"order": [["a"]], "done": [], "expected": {}}'])
def test_progress_that_cannot_be_read_stops_no_cell(project, content):
    (project / ".scratch/progress").mkdir(parents=True)
    (project / ".scratch/progress/run.json").write_text(content)
    done = subprocess.run([sys.executable, "-c", SPOILT], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr.startswith("prepare: 6 prompts, in "), done.stderr
