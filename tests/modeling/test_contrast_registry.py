"""Names, mappings, module:function and their JSON forms."""

import functools
import json
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from autocontrastive_gen.contrast_calculation import calculate_contrasted_logits
from autocontrastive_gen.modeling import contrast
from autocontrastive_gen.modeling.contrast import REGISTRY, Acd, Cd, Dola, Ensemble, Method, Uncontrasted


def keep_upper(upper_logits, lower_logits, strength=0.0):
    """A user's own function, as the documentation shows one."""
    return (upper_logits - strength * lower_logits).float().log_softmax(-1)


class Holder:
    acd = Acd(alpha=0.3)


@pytest.mark.parametrize(
    ("spec", "method"),
    [
        (None, Acd()),
        ("acd", Acd()),
        ("cd", Cd()),
        ("none", Uncontrasted()),
        ({"name": "acd", "alpha": 0.2, "minimum_candidates": 3, "temperature": 0.5}, Acd(0.2, 3, 0.5)),
        ({"name": "cd", "temperature": 2}, Cd(temperature=2)),
        ({"name": "dola", "layers": [2, 4]}, Dola(layers=(2, 4))),
        ({"name": "ensemble", "layers": [2, 4], "weights": [0.25, 0.5]}, Ensemble((2, 4), (0.25, 0.5))),
        ({"name": "ensemble", "layers": 2, "weights": 0.25}, Ensemble((2,), (0.25,))),
        ({"name": "ensemble", "layers": "2; original", "weights": "0.25;0.5"}, Ensemble((2, "original"), (0.25, 0.5))),
        (Cd, Cd()),
        (Acd(alpha=0.5), Acd(alpha=0.5)),
        (calculate_contrasted_logits, Acd()),
        (functools.partial(calculate_contrasted_logits, alpha=0.3), Acd(alpha=0.3)),
        (
            functools.partial(functools.partial(calculate_contrasted_logits, alpha=0.3), minimum_candidates=2),
            Acd(0.3, 2),
        ),
        ("autocontrastive_gen.contrast_calculation:calculate_contrasted_logits", Acd()),
        ("autocontrastive_gen.modeling.contrast:Cd", Cd()),
        (f"{__name__}:Holder.acd", Acd(alpha=0.3)),
    ],
)
def test_resolve_and_back(spec, method):
    assert contrast.resolve(spec) == method
    config = json.loads(json.dumps(contrast.to_config(spec)))
    assert contrast.resolve(config) == method


def test_user_functions_by_object_and_by_name():
    upper, lower = torch.randn(1, 2, 9), torch.randn(1, 2, 9)
    path = f"{__name__}:keep_upper"
    assert contrast.resolve(keep_upper) is contrast.resolve(path) is keep_upper
    assert contrast.to_config(keep_upper) == path
    strong = contrast.resolve({"name": path, "strength": 0.5})
    torch.testing.assert_close(strong(upper, lower), keep_upper(upper, lower, 0.5))
    assert contrast.to_config(strong) == {"name": path, "strength": 0.5}


def test_a_method_of_ones_own():
    @dataclass(frozen=True)
    class Sharpened(Method):
        name: ClassVar[str] = "sharpened"
        power: float = 2.0

        def __call__(self, upper_logits, lower_logits):
            return (self.power * upper_logits - lower_logits).float().log_softmax(-1)

    try:
        contrast.register(Sharpened)
        contrast.register(Sharpened)  # a module that is loaded twice registers twice
        assert contrast.resolve({"name": "sharpened", "power": 3.0}) == Sharpened(3.0)
        assert contrast.to_config(Sharpened(3.0)) == {"name": "sharpened", "power": 3.0}
    finally:
        REGISTRY.pop("sharpened", None)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("acdd", r"'acdd' is not one of acd, cd, dola, ensemble, none.*did you mean acd"),
        ("zzz", r"'zzz' is not one of"),
        ({"alpha": 0.1}, "needs a 'name'"),
        ({"name": "acd", "alfa": 0.1}, "acd has no parameter 'alfa'; it takes alpha, minimum_candidates, temperature"),
        ({"name": "none", "alpha": 0.1}, "none has no parameter 'alpha'; it takes none"),
        ({"name": "acd", "alpha": 1.5}, "alpha of acd must be a number from 0 to 1, got 1.5"),
        ({"name": "acd", "alpha": "0.1"}, "alpha of acd must be a number"),
        ({"name": "acd", "alpha": float("nan")}, "alpha of acd"),
        (
            {"name": "cd", "minimum_candidates": 0},
            "minimum_candidates of cd must be a whole number of at least 1, got 0",
        ),
        ({"name": "cd", "minimum_candidates": True}, "minimum_candidates of cd"),
        ({"name": "acd", "temperature": 0}, "temperature of acd must be a positive number, got 0"),
        ({"name": "acd", "temperature": float("inf")}, "temperature of acd"),
        ({"name": "dola", "layers": [2, 2]}, "layers of dola must be distinct layers"),
        ({"name": "dola", "layers": [2.5]}, "layers of dola"),
        ({"name": "dola", "layers": "2;four"}, "layers of dola must be distinct layers"),
        ({"name": "dola", "layers": [True]}, "layers of dola"),
        ({"name": "ensemble", "layers": [2], "weights": "half"}, "weights of ensemble"),
        ({"name": "ensemble", "layers": [2], "weights": [0.5, 0.6]}, "weights of ensemble"),
        ({"name": "ensemble", "layers": [2, 4], "weights": [0.5]}, "weights of ensemble must be 2 numbers"),
        ({"name": "ensemble", "layers": [2], "weights": [-0.5]}, "weights of ensemble"),
        ("no_such_module:f", "can't import 'no_such_module:f'"),
        ("math:no_such_function", "can't import"),
        ("math:pi", "'math:pi' is a float, not a function"),
        (3, "must be a name, 'module:function', a mapping or a callable, got 3"),
        (functools.partial(calculate_contrasted_logits, alfa=1), "acd has no parameter 'alfa'"),
        (functools.partial(calculate_contrasted_logits, None), "by name only"),
    ],
)
def test_mistakes_are_named(spec, message):
    with pytest.raises(ValueError, match=message):
        contrast.resolve(spec)


def test_what_cannot_be_imported_cannot_be_saved():
    with pytest.raises(ValueError, match="move it to the top level"):
        contrast.to_config(lambda upper, lower: upper)
    with pytest.raises(ValueError, match="use module:function"):
        contrast.to_config(torch.nn.Bilinear(2, 2, 2))


def test_registering_refuses_strangers_and_taken_names():
    with pytest.raises(ValueError, match="takes a dataclass derived from Method"):
        contrast.register(Holder)

    @dataclass(frozen=True)
    class Other(Method):
        name: ClassVar[str] = "acd"

    with pytest.raises(ValueError, match="'acd' is registered already"):
        contrast.register(Other)


def test_the_schema_knows_the_registry():
    """params.py lists methods and parameters again, so that reading parameters does not import torch."""
    from autocontrastive_gen.experiment.params import METHODS
    from autocontrastive_gen.modeling.methods import method_fields

    assert {name: set(names) for name, names in METHODS.items()} == {
        name: set(method_fields(cls)) for name, cls in REGISTRY.items()
    }


@pytest.mark.parametrize(
    ("section", "method"),
    [
        ({}, Acd()),
        ({"name": "cd", "temperature": 0.5}, Cd(temperature=0.5)),
        ({"name": "dola", "layers": [2, 4], "alpha": 0.2}, Dola(layers=(2, 4), alpha=0.2)),
        ({"name": "ensemble", "layers": [2], "weights": [0.5]}, Ensemble((2,), (0.5,))),
        ({"name": "none"}, Uncontrasted()),
        ({"name": f"{__name__}:keep_upper"}, keep_upper),
    ],
)
def test_a_section_of_params_resolves(section, method):
    from autocontrastive_gen.experiment.params import Contrast

    assert contrast.resolve(Contrast(**section).model_dump(mode="json")) == method


def test_a_misspelt_method_in_params_is_named():
    from autocontrastive_gen.experiment.params import Contrast

    with pytest.raises(ValueError, match="one of acd, cd, dola, ensemble, none, or module:function .did you mean dola"):
        Contrast(name="dolla")
