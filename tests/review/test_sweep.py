"""Which states make a sweep, and the rows and the figure that come of them."""

import copy

import pytest
import yaml

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
    base = yaml.safe_load((root / "conf/profiles/smoke.yaml").read_text())

    def make(label, scores=SCORES, **changes) -> Made:
        params = copy.deepcopy(base)
        for key, value in changes.items():
            section, _, name = key.partition("__")
            params[section][name] = value
        return Made(label, params, scores)

    return make


def test_states_that_differ_elsewhere_are_left_out(made, caplog):
    caplog.set_level("INFO")
    found = sweep.comparable(
        [
            made("workspace"),
            made("a", contrast__alpha=0.5),
            made("again", contrast__alpha=0.5),
            made("b", contrast__alpha=0.7, generate__top_k=3),
        ],
        ["contrast.alpha"],
    )
    assert [state.label for state in found] == ["workspace", "a"]
    assert "b is left out: it differs in generate.top_k" in caplog.text


def test_rows_and_figure(made, monkeypatch):
    monkeypatch.setattr(sweep, "states", lambda: [made("workspace"), made("a", contrast__alpha=0.02)])
    rows = sweep.table(["contrast.alpha"], metrics=["diversity"])
    assert [(row["contrast.alpha"], row["setting"], row["value"]) for row in rows] == [
        (0.02, "greedy", 0.2),
        (0.02, "greedy-acd", 0.6),
        (0.1, "greedy", 0.2),
        (0.1, "greedy-acd", 0.6),
    ]
    drawn = [sweep.figure(rows, ["contrast.alpha"]) for _ in range(2)]
    assert drawn[0].svg == drawn[1].svg and drawn[0].name == "contrast-alpha"
    assert all(text in drawn[0].svg for text in ("contrast.alpha", "0.02", "tiny greedy-acd", "made-a"))


def test_what_makes_no_sweep_is_told(made, monkeypatch):
    monkeypatch.setattr(sweep, "states", lambda: [made("workspace"), made("a", scores=None, contrast__alpha=0.5)])
    with pytest.raises(ValueError, match=r"1 finished value; .*dvc exp run --queue -S 'contrast.alpha"):
        sweep.table(["contrast.alpha"], metrics=["diversity"])
    with pytest.raises(ValueError, match="has no 'alpa' there; known: name, alpha"):
        sweep.table(["contrast.alpa"])
    with pytest.raises(ValueError, match="'gredy' is no setting"):
        sweep.table(["contrast.alpha"], ["gredy"])
    with pytest.raises(ValueError, match="contrast: is a section .*name one of its keys: name, alpha"):
        sweep.table(["contrast"])
    with pytest.raises(ValueError, match="top-p-acd not in run.settings; there are: greedy, greedy-acd"):
        sweep.table(["contrast.alpha"], ["top-p-acd"])
    with pytest.raises(ValueError, match="'mauve' was not scored; there are: diversity"):
        sweep.table(["contrast.alpha"], metrics=["mauve"])
