"""Decoding by logit trajectory against a slow version that fits a line to every token."""

import numpy as np
import pytest
import torch

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.modeling.contrast import resolve
from autocontrastive_gen.modeling.method import GivenLogits
from tests.modeling.conftest import MODES, tiny_ids, tiny_model
from tests.modeling.slow import assert_exact, log_softmax, over, several_layers, slow_plausible


def slow_delta(upper, lowers: dict, upper_layer: int, beyond=1.0, alpha=0.1, outside=-np.inf) -> np.ndarray:
    layers = [*lowers, upper_layer]
    logits = np.asarray([*lowers.values(), upper], np.float64)  # (layers, V)
    lines = [np.polyfit(layers, of_token, 1) for of_token in logits.T]
    predicted = np.array([np.polyval(line, upper_layer + beyond) for line in lines])
    kept = slow_plausible(predicted, alpha)
    out = np.full_like(predicted, outside)
    out[kept] = log_softmax(predicted[kept])
    return out


@pytest.mark.parametrize("scale", [0.3, 3.0, 10.0])
@pytest.mark.parametrize(
    "parameters", [{}, {"beyond": 2.5, "alpha": 0.01, "outside": -1000}, {"beyond": 0}, {"alpha": 1}]
)
def test_it_equals_the_slow_version(scale, parameters):
    upper, lowers = several_layers(scale, {7: 0.9, 2: 0.2, 4: 0.5})
    method = resolve({"name": "delta", "layers": [7, 2, 4], **parameters})
    got = method.evaluate(upper, GivenLogits(upper, lowers, upper_layer=9)).flatten(0, 1)
    rows = zip(upper.flatten(0, 1).numpy(), *(x.flatten(0, 1).numpy() for x in lowers.values()), strict=True)
    want = [slow_delta(row, dict(zip(lowers, others, strict=True)), 9, **parameters) for row, *others in rows]
    assert_exact(got, torch.from_numpy(np.stack(want)))
    assert (got.double().exp().sum(-1) - 1).abs().max() < 1e-5


def test_two_exits_are_contrasted():
    """The line through two points: the upper logits, and their difference to the lower ones times 2 / (9 - 5)."""
    upper, lower = torch.randn(3, 40) * 3, torch.randn(3, 40) * 3
    got = resolve({"name": "delta", "beyond": 2, "alpha": 0}).evaluate(upper, GivenLogits(upper, {5: lower}, None, 9))
    torch.testing.assert_close(got, (upper + 0.5 * (upper - lower)).log_softmax(-1))


def test_layers_that_agree_change_nothing_but_the_tail():
    upper = torch.randn(3, 40)
    got = over(resolve({"name": "delta", "alpha": 0}), upper, {2: upper.clone(), 3: upper.clone()})
    torch.testing.assert_close(got, upper.log_softmax(-1))


def test_a_rising_token_overtakes():
    """The second token has risen by one logit per layer, the first has not; two layers on, it leads."""
    upper = torch.tensor([[2.0, 1.5, 0.0]])
    lowers = {3: torch.tensor([[2.0, 0.5, 0.0]])}
    assert over(resolve({"name": "delta", "beyond": 0.4}), upper, lowers).argmax() == 0
    assert over(resolve({"name": "delta", "beyond": 2}), upper, lowers).argmax() == 1


def test_broken_and_masked_tokens_stay_in_their_row():
    upper, lower = torch.randn(4, 40) * 3, torch.randn(4, 40)
    delta = resolve({"name": "delta", "alpha": 0})
    clean = over(delta, upper, {2: lower})
    upper[1, 3], lower[2, 5] = torch.nan, torch.nan
    lower[3, 7] = upper[3, 8] = -torch.inf
    got = over(delta, upper, {2: lower})
    assert got[1].isnan().all() and got[2].isnan().all() and torch.equal(got[0], clean[0])
    assert not got[3].isnan().any() and got[3, 7] > -torch.inf and got[3, 8] == -torch.inf


@pytest.mark.parametrize(("upper", "read"), [("original", (1, 2, 3)), (3, (1, 2))])
@pytest.mark.parametrize("mode", MODES)
@torch.no_grad()
def test_it_reads_every_exit_from_the_lower_layer_on(mode, upper, read):
    model = tiny_model(mode, exits=(1, 2, 3))
    model.set_exits(contrast_layer_indices=(upper, 1), contrast_function={"name": "delta", "alpha": 1e-9})
    assert model.active_exits.lower == read
    states = model.exit_states(tiny_ids(), layers=(*read, upper))
    of = {model.layer_of(exit_): model.project_exit(states[model.layer_of(exit_)], exit_) for exit_ in (*read, upper)}
    *lowers, (top, upper_logits) = of.items()
    want = [
        slow_delta(row, {layer: x.flatten(0, 1)[i].numpy() for layer, x in lowers}, top, alpha=1e-9)
        for i, row in enumerate(upper_logits.flatten(0, 1).numpy())
    ]
    got = model(tiny_ids()).logits.flatten(0, 1)
    torch.testing.assert_close(got.double(), torch.from_numpy(np.stack(want)), rtol=1e-4, atol=1e-4)


def test_layers_are_those_it_names_or_a_lower_layer_is_needed():
    exits = (4, 15, 20, 25)
    assert resolve({"name": "delta", "layers": "high"}).lower_exits(None, "original", exits, 30) == (20,)
    assert resolve({"name": "delta", "layers": [25, 4]}).lower_exits(None, "original", exits, 30) == (25, 4)
    assert resolve("delta").lower_exits(15, 25, exits, 30) == (15, 20)
    with pytest.raises(InputError, match="delta needs a lower layer"):
        resolve("delta").lower_exits(None, "original", exits, 30)
    with pytest.raises(InputError, match="beyond of delta must be a number of at least 0"):
        resolve({"name": "delta", "beyond": -1})
