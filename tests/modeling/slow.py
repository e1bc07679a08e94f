"""Slow, obvious versions of the contrasts in float64, a position at a time, and how results are compared."""

import math

import numpy as np
import torch

from autocontrastive_gen.modeling.method import GivenLogits


def log_softmax(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, np.float64)
    x = x - x.max()
    return x - math.log(np.exp(x).sum())


def slow_plausible(upper: np.ndarray, alpha: float, k: int = 1) -> np.ndarray:
    log_p = log_softmax(upper)
    threshold = min(math.log(alpha) + log_p.max(), np.sort(log_p)[-k])
    return (log_p >= threshold) & (log_p > -np.inf)


def slow_acd(upper, lower, alpha=0.1, minimum_candidates=1, temperature=1.0) -> np.ndarray:
    log_u, log_l = log_softmax(upper), log_softmax(np.asarray(lower, np.float64) / temperature)
    inside = slow_plausible(upper, alpha, minimum_candidates)
    mass = np.logaddexp.reduce(log_u[inside])
    out = log_u.copy()
    out[inside] = log_softmax(log_u[inside] - log_l[inside]) + mass
    return out


def slow_cd(upper, lower, alpha=0.1, minimum_candidates=1, temperature=1.0) -> np.ndarray:
    log_u, log_l = log_softmax(upper), log_softmax(np.asarray(lower, np.float64) / temperature)
    inside = slow_plausible(upper, alpha, minimum_candidates)
    out = np.full_like(log_u, -np.inf)
    out[inside] = log_softmax(log_u[inside] - log_l[inside])
    return out


def slow_ensemble(upper, lowers: dict, weights) -> np.ndarray:
    p = (1 - sum(weights)) * np.exp(log_softmax(upper))
    return np.log(p + sum(w * np.exp(log_softmax(x)) for w, x in zip(weights, lowers.values(), strict=True)))


def several_layers(scale: float, shares: dict[int, float]):
    """Random upper logits, and by layer a share of them with noise of the same size."""
    torch.manual_seed(5)
    upper = torch.randn(2, 4, 60) * scale
    return upper, {layer: upper * share + torch.randn(2, 4, 60) * scale for layer, share in shares.items()}


def over(method, upper, lowers: dict):
    return method.evaluate(upper, GivenLogits(upper, lowers))


def per_row(slow, upper, lower, **parameters) -> torch.Tensor:
    rows = zip(upper.flatten(0, -2).double().numpy(), lower.flatten(0, -2).double().numpy(), strict=True)
    return torch.from_numpy(np.stack([slow(u, low, **parameters) for u, low in rows])).view(upper.shape)


def assert_exact(got: torch.Tensor, want: torch.Tensor) -> None:
    assert got.dtype == torch.float32 and not want.isnan().any() and not got.isnan().any()
    assert torch.equal(got == -torch.inf, want == -torch.inf)
    finite = want > -torch.inf
    error = (got.double() - want)[finite].abs() / want[finite].abs().clamp(min=1)
    assert error.max() <= 1e-5
