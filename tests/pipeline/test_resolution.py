"""The layers of every setting."""

import pytest

from autocontrastive_gen.experiment.settings import parse_benchmark_setting, parse_setting
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration
from autocontrastive_gen.pipeline.cell_model import exit_fields
from autocontrastive_gen.pipeline.resolution import lower_layer, resolve_setting

SCORES = {
    "plain": {"diversity": 0.2, "coherence": 0.50},
    "15": {"diversity": 0.4, "coherence": 0.49},
    "20": {"diversity": 0.6, "coherence": 0.47},
    "25": {"diversity": 0.5, "coherence": 0.52},
}
DIGESTS = {"15": "a", "20": "b", "25": "c"}
CONTRASTS = {
    "acd": {"method": "acd", "alpha": 0.1},
    "mix": {"method": "ensemble", "layers": [15, 20]},
    "none": {"method": "none"},
}


def resolved(name, scores=None, **changes):
    """The setting of that name for a model of 30 layers."""
    decoders = ("greedy", "beam", "top-p")
    bench = not name.startswith(decoders)
    setting = parse_benchmark_setting(name, CONTRASTS) if bench else parse_setting(name, decoders, CONTRASTS)
    model = {"exits": [15, 20, 25], "upper": "original", "lower": "auto", **changes}
    layers = {"exit": setting.exit, "contrast": setting.contrast, "lower": setting.lower}
    plan = {"settings": {name: layers}, "model": model, "contrasts": CONTRASTS, "coherence_margin": 0.02}
    return resolve_setting(name, plan, 30, {"acd": SCORES} if scores is None else scores, DIGESTS)


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
    assert resolved(name) == {"upper": upper, "lower": lower, "exits": exits}


def test_a_contrast_without_an_exit_below_is_refused():
    with pytest.raises(ValueError, match="no lower exit below 15"):
        resolved("greedy-exit15-acd")


def test_a_setting_without_an_upper_exit_takes_that_of_the_model():
    of = {"upper": 25, "lower": 15}
    assert resolved("greedy", {}, **of) == {"upper": 25, "lower": None, "exits": {"25": "c"}}
    assert resolved("greedy-acd", {}, **of)["exits"] == {"25": "c", "15": "a"}
    assert resolved("original", {}, **of) == {"upper": "original", "lower": None, "exits": {}}
    with pytest.raises(ValueError, match="no lower exit below 25"):
        resolved("greedy-acd25", {}, **of)


def test_halfway_is_the_papers_layer_and_must_carry_an_exit():
    model = {"exits": [15, 20, 25], "lower": "halfway"}
    assert lower_layer(model, 30, 30, {}, 0.0) == 15
    assert lower_layer(model, 31, 31, {}, 0.0) == 15
    with pytest.raises(ValueError, match="lower = halfway: layer 12 of 24 has no exit"):
        lower_layer(model, 24, 24, {}, 0.0)


def test_fields_of_a_plain_exit_and_of_a_contrast():
    contrast = {"method": "acd", "alpha": 0.2, "minimum_candidates": 2}
    fields = [
        exit_fields({"upper": upper, "lower": lower}, contrast if lower else None)
        for upper, lower in (("original", None), (25, None), ("original", 15), (25, 15))
    ]
    names = [MultiExitConfiguration(**each).get_description() for each in fields]
    assert names == ["original_head", "layer_25", "original_vs_15", "25_vs_15"]
