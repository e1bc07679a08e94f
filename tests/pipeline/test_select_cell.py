"""The stage select: what it measures, what it keeps, and what it writes."""

import contextlib
from types import SimpleNamespace

import pytest

from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation.files import read_json, write_json, write_jsonl
from autocontrastive_gen.pipeline import candidate_scores, select_cell

PATHS = Paths("small")
SCORES = {
    None: (0.2, 0.5),
    (2, 0.1): (0.3, 0.5),
    (2, 0.3): (0.7, 0.1),
    (4, 0.1): (0.5, 0.5),
    (4, 0.3): (0.4, 0.6),
    (2, 0.9): (0.9, 0.5),
    (4, 0.9): (0.1, 0.5),
}
"""Diversity and coherence of the plain exit, and of (lower layer, alpha)."""

RIGHT = {None: "110000", (2, 0.1): "111100", (4, 0.1): "111110", (2, 0.3): "100000", (4, 0.3): "000000"}
ITEMS = {
    key: {"last-word": {"values": [int(value) for value in values], "documents": list("aabbcc")}}
    for key, values in RIGHT.items()
}
"""Which of six items of three documents each of them gets right."""


class Model:
    """Stands for a model: remembers what it was set to."""

    device = "cpu"

    def __init__(self) -> None:
        self.current, self.seen = None, []

    @contextlib.contextmanager
    def set_exits(self, use_original_head, contrast_layer_indices=(None, None), contrast_function=None):
        alpha = contrast_function and contrast_function["alpha"]
        self.current = None if contrast_function is None else (contrast_layer_indices[1], alpha)
        self.seen.append(self.current)
        yield self


@pytest.fixture
def model(tmp_path, monkeypatch) -> Model:
    monkeypatch.chdir(tmp_path)
    model = Model()
    monkeypatch.setattr(candidate_scores, "SCRATCH", tmp_path / ".scratch")
    monkeypatch.setattr(candidate_scores, "load_cell_model", lambda *_: (model, None))
    monkeypatch.setattr(candidate_scores, "load_encoder", lambda *_: None)
    write_json(PATHS.asset("tiny") / "config.json", {"num_hidden_layers": 6})
    write_json(PATHS.exit_digests("tiny"), {"2": "two", "4": "four"})
    write_jsonl(PATHS.prompts("made", "validation"), [{"id": "a", "prompt": "a"}])

    def score_exits(model, *_):
        diversity, coherence = SCORES[model.current]
        return {"diversity": [diversity], "coherence": [[coherence, coherence]], "documents": [["a", "b"]]}

    monkeypatch.setattr(candidate_scores, "score_exits", score_exits)
    monkeypatch.setattr(candidate_scores.AccuracyScores, "measure", lambda self, model, _: ITEMS[model.current])
    return model


def plan_of(**acd) -> dict:
    runtime = {"asset": "tiny", "source": {}, "dtype": "float32", "mode": "SHARED_PROJECTION_DIRECT"}
    open_ = {"exit": None, "contrast": "acd", "lower": None, "benchmark": False}
    return {
        "model": {**runtime, "exits": [2, 4], "upper": "original", "lower": "auto"},
        "contrasts": {"acd": {"method": "acd", **acd}},
        "settings": {
            "greedy": open_ | {"contrast": None},
            "greedy-acd": open_,
            "acd2": open_ | {"lower": 2, "benchmark": True},
        },
        "benchmark_tasks": [],
        "benchmark": {},
        "domains": ["made"],
        "new_tokens": 5,
        "coherence_margin": 0.02,
        "seed": 1,
        "coherence_asset": "encoder",
        "coherence_source": {},
    }


def selected(plan: dict) -> SimpleNamespace:
    cost: dict = {}
    select_cell.select_cell("tiny", plan, PATHS, cost)
    resolved = {name: read_json(PATHS.resolved("tiny", name)) for name in plan["settings"]}
    return SimpleNamespace(cost=cost, resolved=resolved, selection=read_json(PATHS.selection("tiny")))


def test_all_candidates_are_measured_once_and_each_setting_gets_the_best_of_its_own(model):
    found = selected(plan_of(choose={"alpha": [0.1, 0.3]}))
    assert model.seen == [None, (2, 0.1), (4, 0.1), (2, 0.3), (4, 0.3)] and found.cost == {"candidates": 4}
    acd = found.selection["acd"]
    assert acd["chosen"] == {"lower": 4, "parameters": {"alpha": 0.1}} and acd["plain"]["diversity"] == 0.2
    assert [(each["lower"], each["parameters"]["alpha"]) for each in acd["candidates"]] == model.seen[1:]
    assert all("coherence_error" in each for each in acd["candidates"])
    assert found.resolved["greedy-acd"] == {
        "upper": "original",
        "lower": 4,
        "contrast": {"method": "acd", "alpha": 0.1},
        "exits": {"4": "four"},
    }
    assert found.resolved["acd2"]["contrast"]["alpha"] == 0.1, "0.3 is more diverse with layer 2, but not coherent"
    assert found.resolved["greedy"]["contrast"] is None


def test_an_edit_of_the_choice_measures_only_what_is_new(model):
    first = selected(plan_of(choose={"alpha": [0.1, 0.3]}))
    model.seen.clear()
    assert selected(plan_of(choose={"alpha": [0.3, 0.1]})).resolved == first.resolved and model.seen == []
    more = selected(plan_of(choose={"alpha": [0.1, 0.9]}))
    assert model.seen == [(2, 0.9), (4, 0.9)]
    assert more.selection["acd"]["chosen"] == {"lower": 2, "parameters": {"alpha": 0.9}}
    model.seen.clear()
    fixed = selected(plan_of(alpha=0.1))
    assert model.seen == [] and fixed.resolved["greedy-acd"] == first.resolved["greedy-acd"], "no setting runs again"


def test_other_exits_are_measured_anew(model):
    """A method may read all exits of the model, and untrained ones have no digest."""
    selected(plan_of(alpha=0.1))
    model.seen.clear()
    plan = plan_of(alpha=0.1)
    plan["model"]["exits"] = [4]
    del plan["settings"]["acd2"]
    selected(plan)
    assert model.seen == [None, (4, 0.1)]


def test_nothing_is_measured_where_nothing_is_open(model):
    plan = plan_of(alpha=0.1)
    plan["model"]["lower"] = 2
    found = selected(plan)
    assert model.seen == [] and found.selection == {} and found.resolved["greedy-acd"]["lower"] == 2


def test_a_setting_runs_with_every_digit_of_a_parameter(model):
    plan = plan_of(alpha=1 / 3)
    plan["model"]["lower"] = 2
    assert selected(plan).resolved["greedy-acd"]["contrast"]["alpha"] == 1 / 3


def plan_apart(**acd) -> dict:
    """Benchmarks that choose on validation items of last words, and a benchmark whose layer is open."""
    plan = plan_of(**acd) | {"benchmark_tasks": ["last-word"], "benchmark": {"batch_size": 2, "num_fewshot": 0}}
    plan["settings"]["acd"] = plan["settings"]["acd2"] | {"lower": None}
    return plan


def test_benchmarks_choose_apart_from_generation(model):
    found = selected(plan_apart(alpha=0.1))
    assert found.resolved["greedy-acd"]["lower"] == 4, "the more diverse one"
    assert found.resolved["acd"]["lower"] == 2, "layer 4 is better by one item of six, which is within one error"
    assert found.resolved["acd2"]["lower"] == 2 and found.resolved["greedy"]["lower"] is None
    benchmarks = read_json(PATHS.benchmark_selection("tiny"))["acd"]
    assert benchmarks["chosen"] == {"lower": 2, "parameters": {}} and benchmarks["plain"] == {"accuracy": 0.333333}
    assert [(each["lower"], each["accuracy"]) for each in benchmarks["candidates"]] == [(2, 0.666667), (4, 0.833333)]
    assert [each["accuracy_error"] for each in benchmarks["candidates"]] == [0.166667, 0.0]
    assert "one standard error" in benchmarks["rule"] and "diversity" in found.selection["acd"]["rule"]
    assert found.cost == {"candidates": 4}


def test_benchmarks_that_choose_apart_choose_parameters_too(model):
    found = selected(plan_apart(choose={"alpha": [0.1, 0.3]}))
    assert found.resolved["greedy-acd"]["contrast"]["alpha"] == 0.1 and found.resolved["greedy-acd"]["lower"] == 4
    assert found.resolved["acd"] == found.resolved["acd2"] and found.resolved["acd"]["contrast"]["alpha"] == 0.1
    model.seen.clear()
    assert selected(plan_apart(choose={"alpha": [0.1, 0.3]})).resolved == found.resolved and model.seen == []


def test_generation_does_not_measure_what_only_benchmarks_use(model):
    plan = plan_apart(alpha=0.1)
    del plan["settings"]["greedy-acd"]
    found = selected(plan)
    assert model.seen == [None, (2, 0.1), (4, 0.1)] and found.selection == {}
    assert found.resolved["acd"]["lower"] == 2
