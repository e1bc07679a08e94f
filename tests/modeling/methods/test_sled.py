"""Self logits evolution decoding against a slow version of the paper's algorithm."""

import numpy as np
import pytest
import torch

from autocontrastive_gen.modeling.contrast import resolve
from tests.modeling.conftest import MODES, tiny_ids, tiny_model
from tests.modeling.slow import log_softmax, over, several_layers


def softmax(x: np.ndarray) -> np.ndarray:
    weights = np.exp(x - x.max())
    return weights / weights.sum()


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / norms) if norms else 0.0


def slow_sled(upper, lowers: list, rate=2.0, scale=10, steps=1, lower_bound=-1000.0) -> np.ndarray:
    """Algorithm 1: per layer a distribution over the evolution set, the layers averaged by their total support.

    In extended precision, for ``p - e_i`` all but vanishes where a layer is sure of token i.
    """
    upper = np.asarray(upper, np.longdouble)
    chosen = np.argsort(-upper)[:scale]
    of_layers, weights = [], []
    for lower in lowers:
        lower = np.asarray(lower, np.longdouble)
        support = np.zeros_like(upper)
        for token in chosen:
            one_hot = np.zeros_like(upper)
            one_hot[token] = 1
            support[token] = max(0.0, cosine(softmax(lower) - one_hot, lower - upper)) ** 2
        weights.append(support.sum())
        of_layers.append(support / support.sum() if support.sum() else support)
    latent = np.average(of_layers, axis=0, weights=weights) if sum(weights) else np.zeros_like(upper)
    for step in range(steps):
        upper = upper - rate * (1 - step / steps) * (softmax(upper) - latent)
    evolved = np.full_like(upper, lower_bound)
    evolved[chosen] = upper[chosen]
    return log_softmax(evolved)


@pytest.mark.parametrize("scale", [0.3, 3.0, 30.0])
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"evolution_rate": 5.0, "evolution_scale": 3, "evolution_steps": 10, "evolution_lower_bound": -100},
        {"evolution_scale": 60},
    ],
)
def test_it_equals_the_slow_version(scale, parameters):
    upper, lowers = several_layers(scale, {2: 0.2, 4: 0.5, 6: 0.9})
    got = over(resolve({"name": "sled", **parameters}), upper, lowers).flatten(0, 1)
    slow = {name.removeprefix("evolution_"): value for name, value in parameters.items()}
    for i, row in enumerate(upper.flatten(0, 1).numpy()):
        want = slow_sled(row, [x.flatten(0, 1)[i].numpy() for x in lowers.values()], **slow)
        np.testing.assert_allclose(got[i].double().numpy(), want, rtol=1e-4, atol=1e-4)
    assert got.dtype == torch.float32 and (got.double().exp().sum(-1) - 1).abs().max() < 1e-5


def test_evolution_changes_the_choice():
    """The layers point at the second token, which overtakes the first."""
    upper = torch.tensor([[2.0, 1.8, 0.0, -1.0]])
    lower = torch.tensor([[3.0, 0.2, 0.0, -1.0]])
    assert over(resolve("sled"), upper, {2: lower}).argmax() == 1
    assert over(resolve({"name": "sled", "evolution_rate": 0.01}), upper, {2: lower}).argmax() == 0


def test_a_layer_that_agrees_supports_nothing():
    upper = torch.randn(3, 40)
    want = (upper - 2 * upper.softmax(-1)).gather(-1, upper.topk(10).indices).log_softmax(-1)
    got = over(resolve("sled"), upper, {2: upper.clone()})
    torch.testing.assert_close(got.gather(-1, upper.topk(10).indices), want)


def test_broken_and_masked_tokens_stay_in_their_row():
    upper, lower = torch.randn(4, 40) * 3, torch.randn(4, 40)
    clean = over(resolve("sled"), upper, {2: lower})
    upper[1, 3], lower[2, 5] = torch.nan, torch.nan
    lower[3, 7] = upper[3, 7] = -torch.inf
    got = over(resolve("sled"), upper, {2: lower})
    assert got[1].isnan().all() and got[2].isnan().all() and torch.equal(got[0], clean[0])
    assert not got[3].isnan().any() and got[3, 7] == -torch.inf


def test_it_reads_every_exit_below_the_upper_one():
    model = tiny_model(MODES[2], exits=(1, 2, 3))
    with torch.no_grad():
        states = model.exit_states(tiny_ids(), layers=(1, 2, 3))
        lowers = {layer: model.project_exit(states[layer], layer) for layer in (1, 2)}
        want = over(resolve("sled"), model.project_exit(states[3], 3), lowers)
        model.set_exits(contrast_layer_indices=(3, None), contrast_function="sled")
        torch.testing.assert_close(model(tiny_ids()).logits, want, rtol=1e-4, atol=1e-4)
    assert model.active_exits.lower == (1, 2)
