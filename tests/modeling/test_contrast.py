"""The contrast methods against slow, obvious versions in float64."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autocontrastive_gen.contrast_calculation import calculate_contrasted_logits
from autocontrastive_gen.modeling.contrast import Acd, Cd, Dola, Ensemble, Uncontrasted
from autocontrastive_gen.modeling.method import GivenLogits
from autocontrastive_gen.modeling.plausible import most_likely, plausible_candidates, plausible_mask
from tests.modeling.slow import assert_exact, over, per_row, slow_acd, slow_cd, slow_ensemble


class Gathered(GivenLogits):
    """A lower exit that is read at candidates alone."""

    def candidate_limit(self, exit_, rows):
        return self._upper.shape[-1]

    def logits(self, exit_, final_norm=True):
        raise AssertionError("the candidate path must not ask for all logits")


def at_candidates(method, upper, lower):
    return method.evaluate(upper, Gathered(upper, {"lower": lower}))


def away_from_threshold(upper: torch.Tensor, alpha: float, k: int) -> torch.Tensor:
    """Rows without a token within 1e-6 of the border, where rounding may decide."""
    log_p = upper.double().log_softmax(-1)
    gaps = [log_p - log_p.amax(-1, keepdim=True) - math.log(alpha)]
    if k > 1:
        kth = log_p.topk(k).values[..., -1:]
        gaps.append(torch.where(log_p == kth, 1.0, log_p - kth))
    return torch.stack([gap.abs().amin(-1) > 1e-6 for gap in gaps]).all(0)


def dense(contrast, upper, lower):
    """The combination over the whole vocabulary, which calls take where it is mostly plausible."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("autocontrastive_gen.modeling.over_plausible.DENSE_SHARE", 10**9)
        return contrast(upper, lower)


SLOW = {Acd: slow_acd, Cd: slow_cd}


@pytest.mark.parametrize("method", SLOW)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scale", [0.1, 3.0, 30.0, 3e4])
@pytest.mark.parametrize("parameters", [{}, {"minimum_candidates": 5}, {"alpha": 1e-3}, {"temperature": 0.5}])
def test_contrast_is_exact_on_both_paths(method, dtype, scale, parameters):
    torch.manual_seed(0)
    upper, lower = (torch.randn(3, 4, 700).mul(scale).clamp(-6e4, 6e4).to(dtype) for _ in range(2))
    contrast = method(**parameters)
    keep = away_from_threshold(upper, contrast.alpha, contrast.minimum_candidates)
    want = per_row(SLOW[method], upper, lower, **parameters)
    full = dense(contrast, upper, lower)
    assert_exact(full[keep], want[keep])
    assert_exact(contrast(upper, lower)[keep], want[keep])
    assert (full.double().exp().sum(-1) - 1).abs().max() < 1e-5
    assert_exact(at_candidates(contrast, upper, lower)[keep], want[keep])


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(1, 400),
    alpha=st.floats(1e-6, 1),
    k=st.integers(1, 12),
    levels=st.integers(1, 50),
    masked=st.floats(0, 0.9),
)
def test_paths_agree_with_ties_and_masked_tokens(seed, size, alpha, k, levels, masked):
    """Few distinct logits give ties at every threshold; -inf marks tokens that some heads can't say."""
    draw = torch.Generator().manual_seed(seed)
    upper, lower = (torch.randint(0, levels, (4, size), generator=draw).float() / 2 for _ in range(2))
    upper[:, 1:][torch.rand((4, size - 1), generator=draw) < masked] = -torch.inf
    for method, slow in SLOW.items():
        contrast = method(alpha=alpha, minimum_candidates=k)
        full = dense(contrast, upper, lower)
        torch.testing.assert_close(contrast(upper, lower), full, rtol=0, atol=1e-4)
        assert torch.equal(full[upper == -torch.inf], upper[upper == -torch.inf])
        assert (full.double().exp().sum(-1) - 1).abs().max() < 1e-5
        torch.testing.assert_close(at_candidates(contrast, upper, lower), full, rtol=0, atol=1e-4)
        keep = away_from_threshold(upper, alpha, 1)
        want = per_row(slow, upper, lower, alpha=alpha, minimum_candidates=min(k, size))
        if keep.any():
            assert_exact(full[keep], want[keep])


@settings(max_examples=60, deadline=None)
@given(
    logits=st.lists(
        st.sampled_from([0.0, 1.0, -3.0, 2e38, -2e38, math.inf, -math.inf, math.nan]), min_size=3, max_size=3
    )
)
def test_a_broken_row_never_spreads(logits):
    """NaN and +inf make their own row NaN, as log_softmax does, on either path, and leave the others alone."""
    torch.manual_seed(1)
    upper, lower = torch.randn(3, 80) * 3, torch.randn(3, 80)
    upper[1, :3] = torch.tensor(logits)
    broken = bool(upper[1].log_softmax(-1).isnan().any())
    for contrast in (Acd(minimum_candidates=3), Cd(), Dola()):
        clean = contrast(upper[[0, 2]], lower[[0, 2]])
        outs = [contrast(upper, lower), dense(contrast, upper, lower)]
        outs.append(at_candidates(contrast, upper, lower))
        for out in outs:
            assert torch.equal(out[[0, 2]], clean)
            assert bool(out[1].isnan().all()) == broken == bool(out[1].isnan().any())


def test_infinite_lower_logits_act_as_their_limits():
    upper = torch.tensor([[2.0, 1.5, 1.0, -9.0]])
    lower = torch.tensor([[-math.inf, -math.inf, 0.0, 3.0]])
    p = Acd()(upper, lower).double().exp()
    upper_p = upper.double().softmax(-1)
    mass = upper_p[0, :3].sum()
    torch.testing.assert_close(p[0, :2], mass * torch.tensor([2.0, 1.5]).double().softmax(-1), rtol=1e-5, atol=0)
    assert p[0, 2] == 0 and torch.isclose(p[0, 3], upper_p[0, 3])
    never = Acd()(upper, torch.tensor([[math.inf, 0.0, 0.0, 0.0]])).exp()
    assert never[0, 0] == 0 and torch.isfinite(never).all()


def test_a_fresh_nan_of_the_lower_exit_stays_in_its_row():
    torch.manual_seed(0)
    upper, lower = torch.randn(2, 90) * 3, torch.randn(2, 90)
    lower[0, upper[0].argmax()] = math.nan
    for out in (dense(Acd(), upper, lower), at_candidates(Acd(), upper, lower)):
        assert out[0].isnan().any() and torch.isfinite(out[1]).all()


def test_reference_equation_by_hand():
    """Two plausible tokens of three: their mass 0.9 is shared out by p_u / p_l, the third keeps 0.1."""
    upper, lower = torch.tensor([0.6, 0.3, 0.1]).log(), torch.tensor([0.8, 0.1, 0.1]).log()
    got = Acd(alpha=0.4)(upper[None], lower[None]).exp()[0]
    shares = torch.tensor([0.6 / 0.8, 0.3 / 0.1])
    torch.testing.assert_close(got, torch.cat([0.9 * shares / shares.sum(), torch.tensor([0.1])]))
    torch.testing.assert_close(calculate_contrasted_logits(upper[None], lower[None], 1, 0.4).exp()[0], got)


@pytest.mark.parametrize("size", [1, 5, 63, 64, 300, 4096, 5001])
@pytest.mark.parametrize("k", [1, 7, 64])
def test_most_likely_equals_a_sort(size, k):
    torch.manual_seed(size)
    k = min(k, size)
    logits = torch.randn(5, size)
    logits[0] = logits[0].round()  # ties
    logits[1] = -torch.inf
    values, ids = most_likely(logits, k)
    assert torch.equal(values, logits.sort(descending=True).values[:, :k])
    assert torch.equal(values, logits.gather(-1, ids))
    assert all(len(set(row)) == k for row in ids.tolist())


@pytest.mark.parametrize("count", [1, 3, 31, 32, 33, 200])
def test_candidates_are_the_plausible_set_however_large(count):
    torch.manual_seed(count)
    logits = torch.randn(4, 6000) * 0.1 - 20
    logits[2, torch.randperm(6000)[:count]] += 20
    logits[[0, 1, 3], [5, 5999, 64]] += 20
    found = plausible_candidates(logits, 0.1, 1, limit=300)
    mask = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, found.token_ids, found.mask)
    assert torch.equal(mask, plausible_mask(logits, 0.1)) and found.token_ids.shape[1] == count
    assert (plausible_candidates(logits, 0.1, 1, limit=max(count - 1, 1)) is None) == (count >= 32)


def test_gradients_flow_on_both_paths():
    torch.manual_seed(0)
    upper, lower = ((torch.randn(2, 3, 200) * 3).requires_grad_() for _ in range(2))
    for contrast in (Acd(), Ensemble(), Uncontrasted()):
        contrast(upper, lower)[..., 0].sum().backward()
        assert torch.isfinite(upper.grad).all() and upper.grad.abs().sum() > 0
    upper.grad = lower.grad = None
    dense(Acd(), upper, lower)[..., :3].sum().backward()
    wanted = upper.grad.clone(), lower.grad.clone()
    upper.grad = lower.grad = None
    at_candidates(Acd(), upper, lower)[..., :3].sum().backward()
    torch.testing.assert_close((upper.grad, lower.grad), wanted)


def test_chunks_change_nothing(monkeypatch):
    torch.manual_seed(0)
    upper, lower, other = (torch.randn(3, 5, 130) * 3 for _ in range(3))
    methods = [Acd(), Cd(), Dola(layers=(2, 4)), Ensemble(layers=(2, 4))]
    run = [
        lambda m=m: over(m, upper, {2: lower, 4: other} if getattr(m, "layers", ()) else {2: lower}) for m in methods
    ]
    whole = [f() for f in run]
    monkeypatch.setattr("autocontrastive_gen.modeling.arithmetic.CHUNK", 260)
    assert all(torch.equal(f(), w) for f, w in zip(run, whole, strict=True))


def test_unequal_shapes_are_refused_not_broadcast():
    with pytest.raises(ValueError, match=r"one shape, got \(2, 5, 9\) and \(2, 1, 9\)"):
        Acd()(torch.randn(2, 5, 9), torch.randn(2, 1, 9))


@pytest.mark.parametrize("weights", [(), (0.2, 0.3), (0.5, 0.5), (0.0, 0.4)])
def test_ensemble_is_a_mixture(weights):
    torch.manual_seed(4)
    upper, two, four = (torch.randn(5, 60) * 4 for _ in range(3))
    got = over(Ensemble(layers=(2, 4), weights=weights), upper, {2: two, 4: four})
    used = weights or (1 / 3, 1 / 3)
    rows = zip(upper.numpy(), two.numpy(), four.numpy(), strict=True)
    want = np.stack([slow_ensemble(u, {2: a, 4: b}, used) for u, a, b in rows])
    assert_exact(got, torch.from_numpy(want))


def test_none_is_the_upper_exit():
    upper = torch.randn(2, 3, 40, dtype=torch.bfloat16)
    for out in (Uncontrasted()(upper, torch.randn(2, 3, 40)), over(Uncontrasted(), upper, {})):
        assert torch.equal(out, upper.float().log_softmax(-1))
