"""Which states make a sweep, and the rows and the figure that come of them."""

import copy
import functools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from autocontrastive_gen.experiment.params import load_profile
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.review import sweep
from autocontrastive_gen.review.snapshots import State

SCORES = {
    setting: {"made-a": {"diversity": {"value": value, "low": value - 0.1, "high": value + 0.1, "n": 3}}}
    for setting, value in (("greedy", 0.2), ("greedy-acd", 0.6))
}


class Made(State):
    def __init__(self, label, params, scores=SCORES):
        super().__init__(label)
        self.params, self.scores = params, scores

    def read_json(self, path):
        return self.scores


@pytest.fixture
def made(root):
    base = load_profile("smoke").model_dump(mode="json")

    def make(label, scores=SCORES, **changes) -> Made:
        params = copy.deepcopy(base)
        for key, value in changes.items():
            *sections, name = key.split("__")
            functools.reduce(dict.__getitem__, sections, params)[name] = value
        return Made(label, params, scores)

    return make


def test_states_that_differ_elsewhere_are_left_out(made, caplog):
    caplog.set_level("INFO")
    found = sweep.comparable(
        [
            made("workspace"),
            made("a", contrasts__acd__alpha=0.5),
            made("again", contrasts__acd__alpha=0.5),
            made("b", contrasts__acd__alpha=0.7, generate__batch_size=3),
        ],
        ["contrasts.acd.alpha"],
    )
    assert [state.label for state in found] == ["workspace", "a"]
    assert "b is left out: it also differs in generate.batch_size" in caplog.text


def test_rows_and_figure(made, monkeypatch):
    monkeypatch.setattr(sweep, "states", lambda: [made("workspace"), made("a", contrasts__acd__alpha=0.02)])
    rows = sweep.table(["contrasts.acd.alpha"], metrics=["diversity"])
    assert [(row["contrasts.acd.alpha"], row["setting"], row["value"]) for row in rows] == [
        (0.02, "greedy", 0.2),
        (0.02, "greedy-acd", 0.6),
        (0.1, "greedy", 0.2),
        (0.1, "greedy-acd", 0.6),
    ]
    drawn = [sweep.figure(rows, ["contrasts.acd.alpha"]) for _ in range(2)]
    assert drawn[0].svg == drawn[1].svg and drawn[0].name == "contrasts-acd-alpha"
    assert all(text in drawn[0].svg for text in ("contrasts.acd.alpha", "0.02", "tiny greedy-acd", "made-a"))


def series_of(made, monkeypatch, key, *changes):
    """Places on the x axis of each series' points, and the number of lines that join them."""
    lines, points = [], {}

    def add_point(axis, at, number, colour, marker, label):
        points.setdefault(label, []).append(at)

    monkeypatch.setattr(sweep, "states", lambda: [made("workspace"), *changes])
    rows = sweep.table([key], ["greedy", "greedy-acd"], ["diversity"])
    with monkeypatch.context() as patch:
        patch.setattr("autocontrastive_gen.report.drawing.add_point", add_point)
        patch.setattr("autocontrastive_gen.report.drawing.add_legend", lambda *_: None)
        patch.setattr("matplotlib.axes.Axes.plot", lambda *args, **_: lines.append(args))
        sweep.figure(rows, [key])
    return points, lines


def test_numbers_are_joined_by_lines(made, monkeypatch):
    points, lines = series_of(made, monkeypatch, "contrasts.acd.alpha", made("a", contrasts__acd__alpha=0.02))
    assert points == {"tiny greedy": [0.02, 0.1], "tiny greedy-acd": [0.02, 0.1]} and len(lines) == 2


@pytest.mark.parametrize(
    ("key", "value"), [("score.mauve", True), ("models.tiny.dtype", "bfloat16"), ("run.domains", ["made-a"])]
)
def test_categories_stand_apart_and_side_by_side(made, monkeypatch, key, value):
    points, lines = series_of(made, monkeypatch, key, made("a", **{key.replace(".", "__"): value}))
    assert not lines, "nothing lies between two categories"
    plain, contrasted = points["tiny greedy"], points["tiny greedy-acd"]
    assert [round(at) for at in plain] == [round(at) for at in contrasted] == [0, 1]
    assert all(a < b for a, b in zip(plain, contrasted, strict=True)), "one series does not hide the other"


def test_the_committed_baseline_stays_after_an_experiment_was_applied(tmp_path, monkeypatch, smoke_params):
    """As DVC leaves it: an experiment's commit under refs/exps/, and its parameters in the workspace."""

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=A user", "-c", "user.email=user@example.org"]
        done = subprocess.run(["git", *identity, *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def write(alpha: float, diversity: float) -> None:
        old = "acd: {method: acd, alpha: 0.1}"
        assert smoke_params.count(old) == 1
        Path("params.yaml").write_text(smoke_params.replace(old, f"acd: {{method: acd, alpha: {alpha}}}"))
        scores = {"made-a": {"diversity": {"value": diversity, "low": 0.0, "high": 1.0, "n": 3}}}
        path = Paths("smoke").metrics("tiny")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"greedy-acd": scores}))

    monkeypatch.chdir(tmp_path)
    git("init", "--quiet")
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet"], check=True)
    git("commit", "--quiet", "--allow-empty", "--message", "Before there was a run")
    write(0.1, 0.2)
    git("add", "--all", "--force")
    git("commit", "--quiet", "--message", "Baseline")
    start = git("rev-parse", "HEAD")
    write(0.5, 0.6)
    git("add", "--all", "--force")
    git("commit", "--quiet", "--message", "Experiment")
    git("update-ref", f"refs/exps/{start[:2]}/{start[2:]}/bolder", "HEAD")
    git("reset", "--quiet", "--soft", start)  # applied: the workspace has the experiment's files
    rows = sweep.table(["contrasts.acd.alpha"], ["greedy-acd"], ["diversity"])
    assert [(row["contrasts.acd.alpha"], row["value"]) for row in rows] == [(0.1, 0.2), (0.5, 0.6)]
    assert rows[0]["experiment"] == f"commit {start[:7]}"
    git("commit", "--quiet", "--all", "--message", "The experiment is the baseline now")
    rows = sweep.table(["contrasts.acd.alpha"], ["greedy-acd"], ["diversity"])
    assert [row["value"] for row in rows] == [0.2, 0.6], "the commit that it started from is still there"


def test_what_is_not_a_sweep_is_reported(made, monkeypatch):
    monkeypatch.setattr(sweep, "states", lambda: [made("workspace"), made("a", scores=None, contrasts__acd__alpha=0.5)])
    with pytest.raises(ValueError, match=r"1 finished value; .*dvc exp run --queue -S 'contrasts.acd.alpha"):
        sweep.table(["contrasts.acd.alpha"], metrics=["diversity"])
    with pytest.raises(ValueError, match="has no 'alpa' there; known: method, choose, alpha"):
        sweep.table(["contrasts.acd.alpa"])
    with pytest.raises(ValueError, match="--settings: gredy not in run.settings"):
        sweep.table(["contrasts.acd.alpha"], ["gredy"])
    with pytest.raises(ValueError, match="contrasts.acd: is a section .*name one of its keys: method, choose, alpha"):
        sweep.table(["contrasts.acd"])
    with pytest.raises(ValueError, match="top-p-acd not in run.settings; there are: greedy, greedy-acd"):
        sweep.table(["contrasts.acd.alpha"], ["top-p-acd"])
    with pytest.raises(ValueError, match="'mauve' was not scored; there are: diversity"):
        sweep.table(["contrasts.acd.alpha"], metrics=["mauve"])


def test_without_git_there_are_no_experiments(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(ValueError, match="experiments are kept in git, which says: .*not a git repository"):
        sweep.states()
