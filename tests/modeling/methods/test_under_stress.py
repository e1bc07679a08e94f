"""Every contrast at every kind of extreme logits: a distribution without NaN, the same in whatever batch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autocontrastive_gen.modeling.method import METHODS, GivenLogits
from tests.stress import DTYPES, OTHER_PARAMETERS, STRESSES, contrasts, title

LAYERS = (2, 4, 5)


def given_logits(stress, shape, dtype, seed, lowers):
    """Upper logits (..., V) and lower exits."""
    draw = torch.Generator().manual_seed(seed)
    upper, *lower = stress((1 + lowers, *shape), draw).to(dtype).unbind()
    return upper, GivenLogits(upper, dict(zip(LAYERS, lower, strict=False)))


def exits_of(method):
    """Number of lower exits that a method reads here."""
    layers = getattr(method, "layers", ())
    return len(LAYERS) if isinstance(layers, str) else len(layers) or int(method.takes_lower)


def assert_distribution(method, upper, found):
    assert found.dtype == torch.float32 and found.shape == upper.shape
    assert not found.isnan().any() and not (found == torch.inf).any()
    # torch's own log_softmax sums the vocabulary in float32
    assert (found.double().exp().sum(-1) - 1).abs().max() < 2e-5 + 1e-9 * upper.shape[-1]
    if method.name != "ensemble":  # a mixture says what any of its exits can say
        assert (found[upper == -torch.inf] <= (getattr(method, "outside", None) or -torch.inf)).all()


@pytest.mark.parametrize("stress", STRESSES, ids=lambda stress: stress.__name__)
@pytest.mark.parametrize("method", contrasts(), ids=title)
@settings(max_examples=3, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 5),
    size=st.sampled_from([1, 2, 63, 256, 4000]),
    dtype=st.sampled_from(DTYPES),
)
def test_every_contrast_bears_every_stress(method, stress, seed, rows, size, dtype):
    upper, lowers = given_logits(stress, (rows, size), dtype, seed, exits_of(method))
    found = method.evaluate(upper, lowers)
    assert_distribution(method, upper, found)
    alone = torch.cat([method.evaluate(upper[i : i + 1], lowers.part(i, i + 1)) for i in range(rows)])
    torch.testing.assert_close(alone, found, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "size"), [(512, 256), (24, 32_000), (2, 256_000)])
@pytest.mark.parametrize("method", contrasts(), ids=title)
def test_every_contrast_bears_large_batches_and_vocabularies(method, batch, size):
    for i, stress in enumerate(STRESSES):
        upper, lowers = given_logits(stress, (batch, 1, size), DTYPES[i % 3], i, exits_of(method))
        found = method.evaluate(upper, lowers)
        assert_distribution(method, upper, found)
        last = method.evaluate(upper[-1], lowers.part(batch - 1, batch))
        torch.testing.assert_close(last, found[-1], rtol=1e-5, atol=1e-5)


def test_the_other_parameters_belong_to_methods_that_there_are():
    assert set(OTHER_PARAMETERS) <= set(METHODS)
    assert {"acd", "cd", "dola", "sled", "delta", "ensemble", "none"} <= {method.name for method in contrasts()}
