"""Which states make a sweep, and the rows and the figure that come of them."""

import copy
import functools

import pytest

from autocontrastive_gen.experiment.params import load_profile
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
