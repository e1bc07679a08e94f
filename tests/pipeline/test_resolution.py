"""What every setting runs with."""

import pytest

from autocontrastive_gen.experiment.settings import parse_benchmark_setting, parse_setting
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration
from autocontrastive_gen.pipeline.cell_model import exit_fields
from autocontrastive_gen.pipeline.choice import choose
from autocontrastive_gen.pipeline.resolution import Choice, candidates_of, resolve_setting, stated_layer

PLAIN = {"diversity": 0.2, "coherence": 0.50}
ACD = [
    {"lower": 15, "parameters": {}, "diversity": 0.4, "coherence": 0.49},
    {"lower": 20, "parameters": {}, "diversity": 0.6, "coherence": 0.47},
    {"lower": 25, "parameters": {}, "diversity": 0.5, "coherence": 0.52},
]
TRIED = [
    {"lower": 15, "parameters": {"alpha": 0.1}, "diversity": 0.3, "coherence": 0.50},
    {"lower": 15, "parameters": {"alpha": 0.3}, "diversity": 0.4, "coherence": 0.50},
    {"lower": 20, "parameters": {"alpha": 0.1}, "diversity": 0.6, "coherence": 0.49},
    {"lower": 20, "parameters": {"alpha": 0.3}, "diversity": 0.5, "coherence": 0.50},
    {"lower": 25, "parameters": {"alpha": 0.1}, "diversity": 0.8, "coherence": 0.40},
    {"lower": 25, "parameters": {"alpha": 0.3}, "diversity": 0.5, "coherence": 0.50},
]
GROUPS = [
    {"lower": None, "parameters": {"layers": "all"}, "diversity": 0.5, "coherence": 0.50},
    {"lower": None, "parameters": {"layers": "high"}, "diversity": 0.4, "coherence": 0.60},
]
MEASURED = {
    name: {"plain": PLAIN, "candidates": each} for name, each in (("acd", ACD), ("tried", TRIED), ("groups", GROUPS))
}
DIGESTS = {"15": "a", "20": "b", "25": "c"}
CONTRASTS = {
    "acd": {"method": "acd", "alpha": 0.1},
    "mix": {"method": "ensemble", "layers": [15, 20]},
    "none": {"method": "none"},
    "tried": {"method": "acd", "minimum_candidates": 1, "choose": {"alpha": [0.1, 0.3]}},
    "groups": {"method": "dola", "choose": {"layers": ["all", "high"]}},
}


def plan_of(*names, **changes):
    """The entry of ``select`` of a model with exits 15, 20 and 25."""
    decoders = ("greedy", "beam", "top-p")
    settings = {}
    for name in names:
        bench = not name.startswith(decoders)
        setting = parse_benchmark_setting(name, CONTRASTS) if bench else parse_setting(name, decoders, CONTRASTS)
        settings[name] = {"exit": setting.exit, "contrast": setting.contrast, "lower": setting.lower}
    model = {"exits": [15, 20, 25], "upper": "original", "lower": "auto", **changes}
    return {"settings": settings, "model": model, "contrasts": CONTRASTS}


def resolved(name, measured=None, **changes):
    """The setting of that name for a model of 30 layers."""
    choice = Choice(MEASURED if measured is None else measured, lambda plain, found: choose(plain, found, 0.02))
    return resolve_setting(name, plan_of(name, **changes), 30, choice, DIGESTS)


@pytest.mark.parametrize(
    ("name", "upper", "lower", "exits"),
    [
        ("greedy", "original", None, {}),
        ("beam-acd", "original", 25, {"25": "c"}),
        ("top-p-exit25-acd", 25, 15, {"25": "c", "15": "a"}),
        ("greedy-acd20", "original", 20, {"20": "b"}),
        ("exit20", 20, None, {"20": "b"}),
        ("acd", "original", 25, {"25": "c"}),
        ("exit25-acd15", 25, 15, {"25": "c", "15": "a"}),
        ("greedy-mix", "original", None, {"15": "a", "20": "b"}),
        ("greedy-none", "original", None, {}),
    ],
)
def test_a_setting_names_its_layers_and_their_weights(name, upper, lower, exits):
    found = resolved(name)
    contrast = next((CONTRASTS[each] for each in ("acd", "mix", "none") if each in name), None)
    assert found == {"upper": upper, "lower": lower, "contrast": contrast, "exits": exits}


@pytest.mark.parametrize(
    ("name", "lower", "alpha", "changes"),
    [
        ("greedy-tried", 20, 0.1, {}),  # layer 25 with 0.1 loses coherence
        ("greedy-tried15", 15, 0.3, {}),  # the best of the candidates with its layer
        ("tried25", 25, 0.3, {}),
        ("greedy-exit20-tried", 15, 0.3, {}),
        ("greedy-tried", 15, 0.3, {"lower": 15}),
        ("greedy-tried", 15, 0.3, {"lower": "halfway"}),
        ("greedy-tried20", 20, 0.1, {"lower": "halfway"}),
    ],
)
def test_a_setting_runs_with_the_parameters_chosen_for_its_layer(name, lower, alpha, changes):
    found = resolved(name, **changes)
    assert found["lower"] == lower and str(lower) in found["exits"]
    assert found["contrast"] == {"method": "acd", "minimum_candidates": 1, "alpha": alpha}


def test_parameters_of_a_method_without_a_lower_layer_are_chosen():
    found = resolved("greedy-groups")
    assert found["lower"] is None and found["contrast"] == {"method": "dola", "layers": "all"}
    assert resolved("greedy-groups", lower=12)["contrast"]["layers"] == "all", "no exit at 12, and none is needed"


def test_candidates_are_every_layer_below_the_upper_exit_with_every_value():
    values = [{"alpha": 0.1}, {"alpha": 0.3}]

    def of(contrast, *names, **changes):
        return candidates_of(contrast, plan_of(*names, **changes), 30)

    everywhere = [(lower, each) for each in values for lower in (15, 20, 25)]
    assert of("tried", "greedy-tried") == of("tried", "greedy-tried", "tried15") == everywhere
    assert of("tried", "greedy-tried", upper=25) == [(lower, each) for each in values for lower in (15, 20)]
    assert of("tried", "greedy-tried15", "tried") == everywhere
    assert of("tried", "tried25", "greedy-tried15") == [(lower, each) for each in values for lower in (15, 25)]
    assert of("tried", "greedy-tried", lower=20) == [(20, each) for each in values]
    assert of("groups", "greedy-groups") == [(None, {"layers": "all"}), (None, {"layers": "high"})]
    assert of("acd", "greedy-acd", "acd15") == [(15, {}), (20, {}), (25, {})]
    assert of("acd", "greedy-acd15") == of("acd", "greedy-acd", lower=20) == of("mix", "greedy-mix") == []


@pytest.mark.parametrize("name", ["greedy-exit15-acd", "greedy-exit15-tried"])
def test_a_contrast_without_an_exit_below_is_refused(name):
    with pytest.raises(ValueError, match="no lower exit below 15"):
        resolved(name)


def test_a_setting_without_an_upper_exit_takes_that_of_the_model():
    of = {"upper": 25, "lower": 15}
    assert resolved("greedy", {}, **of) == {"upper": 25, "lower": None, "contrast": None, "exits": {"25": "c"}}
    assert resolved("greedy-acd", {}, **of)["exits"] == {"25": "c", "15": "a"}
    assert resolved("original", {}, **of) == {"upper": "original", "lower": None, "contrast": None, "exits": {}}
    with pytest.raises(ValueError, match="no lower exit below 25"):
        resolved("greedy-acd25", {}, **of)


def test_halfway_is_the_papers_layer_and_must_carry_an_exit():
    model, open_ = {"exits": [15, 20, 25], "lower": "halfway"}, {"exit": None, "lower": None}
    assert stated_layer(open_, model, 30) == stated_layer(open_, model, 31) == 15
    assert stated_layer(open_ | {"lower": 20}, model, 30) == 20
    assert stated_layer(open_, model | {"lower": "auto"}, 30) is None
    with pytest.raises(ValueError, match="lower = halfway: layer 12 of 24 has no exit"):
        stated_layer(open_, model, 24)


def test_fields_of_a_plain_exit_and_of_a_contrast():
    contrast = {"method": "acd", "alpha": 0.2, "minimum_candidates": 2}
    fields = [
        exit_fields({"upper": upper, "lower": lower, "contrast": contrast if lower else None})
        for upper, lower in (("original", None), (25, None), ("original", 15), (25, 15))
    ]
    names = [MultiExitConfiguration(**each).get_description() for each in fields]
    assert names == ["original_head", "layer_25", "original_vs_15", "25_vs_15"]
    assert fields[-1]["contrast_function"] == {"name": "acd", "alpha": 0.2, "minimum_candidates": 2}
