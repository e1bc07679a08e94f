"""Names, mappings, module:function and their JSON forms."""

import functools
import json
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autocontrastive_gen.contrast_calculation import calculate_contrasted_logits
from autocontrastive_gen.modeling import contrast
from autocontrastive_gen.modeling.contrast import REGISTRY, Acd, Cd, Dola, Ensemble, Function, Method, Uncontrasted


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
    assert contrast.resolve(keep_upper) == contrast.resolve(path) == Function(keep_upper)
    assert contrast.to_config(keep_upper) == path
    strong = contrast.resolve({"name": path, "strength": 0.5})
    torch.testing.assert_close(strong(upper, lower), keep_upper(upper, lower, 0.5))
    assert contrast.to_config(strong) == {"name": path, "strength": 0.5}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"alpha": 0.2}, f"{__name__}:keep_upper has no parameter 'alpha'; it takes strength"),
        ({"lower_logits": 1}, "has no parameter 'lower_logits'; it takes strength"),
    ],
)
def test_arguments_of_a_function_are_compared_with_its_signature(parameters, message):
    with pytest.raises(ValueError, match=message):
        contrast.resolve({"name": f"{__name__}:keep_upper", **parameters})
    with pytest.raises(ValueError, match=message):
        contrast.resolve(functools.partial(keep_upper, **parameters))


def needs_strength(upper_logits, lower_logits, strength, *, sharpness=1.0):
    """A user's function with a parameter that has no default."""
    return (sharpness * upper_logits - strength * lower_logits).float().log_softmax(-1)


def takes_anything(upper_logits, lower_logits, **options):
    return upper_logits.log_softmax(-1)


def test_missing_arguments_are_named_with_the_unknown_ones():
    path = f"{__name__}:needs_strength"
    with pytest.raises(ValueError, match=f"{path} needs 'strength'; it takes strength, sharpness"):
        contrast.resolve(path)
    with pytest.raises(ValueError, match="has no parameter 'alpha' and needs 'strength'; it takes strength, sharpness"):
        contrast.resolve({"name": path, "alpha": 0.1})
    contrast.resolve({"name": path, "strength": 0.5, "sharpness": 2.0})
    contrast.resolve({"name": f"{__name__}:takes_anything", "alpha": 0.1})


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda u, low: u - low, "rows whose exponentials sum to between .* and"),
        (lambda u, low: (u - low).softmax(-1), "rows whose exponentials sum to between"),
        (lambda u, low: u.log_softmax(-1)[..., :3], r"returned a tensor of shape \(1, 1, 3\)"),
        (lambda u, low: u.argmax(-1, keepdim=True).expand(u.shape), "type torch.int64"),
        (lambda u, low: u * torch.nan, "returned NaN in places"),
        (lambda u, low: None, "returned a NoneType"),
        (lambda u, low: u @ low, r"fails on logits of shape \(1, 1, 7\): RuntimeError"),
        (lambda u, low: u.log_softmax(-1)[0, 0], "returned a tensor of shape"),
    ],
)
def test_a_function_is_tried_on_toy_logits(function, message):
    with pytest.raises(ValueError, match=message) as error:
        contrast.check(function)
    assert f"{__name__}:<lambda>" in str(error.value)


def test_what_greedy_search_cannot_tell_apart_is_a_warning():
    assert contrast.check("acd") == contrast.check({"name": "dola", "layers": [2, 4]}) == []
    assert contrast.check({"name": "ensemble", "layers": [2, 4]}) == contrast.check(keep_upper) == []
    (warning,) = contrast.check({"name": "cd", "alpha": 0.2})
    assert "cd: greedy search picks the same tokens as acd (alpha=0.2, minimum_candidates=1" in warning
    assert contrast.check("dola") and contrast.check({"name": "dola", "layers": [4]})


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), alpha=st.floats(0.001, 1), k=st.integers(1, 9), temperature=st.floats(0.2, 5))
def test_the_same_choice_is_the_same(seed, alpha, k, temperature):
    draw = torch.Generator().manual_seed(seed)
    upper, lower = (torch.randn(5, 60, generator=draw) * 4 for _ in range(2))
    for method in (Cd(alpha, k, temperature), Dola(alpha=alpha)):
        same = method.same_choice_as
        assert torch.equal(method(upper, lower).argmax(-1), same(upper, lower).argmax(-1))


def test_a_method_of_ones_own():
    @dataclass(frozen=True)
    class Sharpened(Method):
        name: ClassVar[str] = "sharpened"
        power: float = 2.0

        def evaluate(self, upper_logits, lowers):
            return (self.power * upper_logits - lowers.logits(lowers.exits[0])).float().log_softmax(-1)

    try:
        contrast.register(Sharpened)
        contrast.register(Sharpened)  # a module that is loaded twice registers twice
        assert contrast.resolve({"name": "sharpened", "power": 3.0}) == Sharpened(3.0)
        assert contrast.to_config(Sharpened(3.0)) == {"name": "sharpened", "power": 3.0}
    finally:
        REGISTRY.unregister("sharpened")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("acdd", r"'acdd' is not a contrast method; there are: acd, cd, .*did you mean acd.*module:function"),
        ("zzz", r"'zzz' is not a contrast method"),
        ({"alpha": 0.1}, "needs a 'name'"),
        ({"name": "acd", "alfa": 0.1}, "acd has no parameter 'alfa'; it takes alpha, minimum_candidates, temperature"),
        ({"name": "none", "alpha": 0.1}, "none has no parameter 'alpha'; it takes none"),
        ({"name": "acd", "alpha": 1.5}, "alpha of acd must be a number from 0 to 1, got 1.5"),
        ({"name": "acd", "alpha": "some"}, "alpha of acd must be a number"),
        ({"name": "acd", "alpha": float("nan")}, "alpha of acd"),
        (
            {"name": "cd", "minimum_candidates": 0},
            "minimum_candidates of cd must be a whole number of at least 1, got 0",
        ),
        ({"name": "cd", "minimum_candidates": True}, "minimum_candidates of cd"),
        ({"name": "acd", "temperature": 0}, "temperature of acd must be a number above 0, got 0"),
        ({"name": "acd", "temperature": float("inf")}, "temperature of acd"),
        ({"name": "dola", "layers": [2, 2]}, "layers of dola must be low, high, all, or distinct layers"),
        ({"name": "dola", "layers": [2.5]}, "layers of dola"),
        ({"name": "dola", "layers": "2;four"}, "layers of dola must be low, high, all, or distinct layers"),
        ({"name": "dola", "layers": [True]}, "layers of dola"),
        ({"name": "ensemble", "layers": [2], "weights": "half"}, "weights of ensemble"),
        ({"name": "ensemble", "layers": [2], "weights": [0.5, 0.6]}, "weights of ensemble"),
        ({"name": "ensemble", "layers": [2, 4], "weights": [0.5]}, "weights of ensemble must be 2 numbers"),
        ({"name": "ensemble", "layers": [2], "weights": [-0.5]}, "weights of ensemble"),
        ("no_such_module:f", "can't import 'no_such_module:f'"),
        ("math:no_such_function", "can't import"),
        ("math:pi", "'math:pi' is a float, not a function"),
        (3, "is a name, 'module:function', a mapping or a callable, got 3"),
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
