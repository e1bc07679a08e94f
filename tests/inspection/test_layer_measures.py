"""The measures against sums over the vocabulary in float64, one token at a time."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.inspection.layer_measures import (
    MEASURES,
    NO_TOKEN,
    check_measure,
    jensen_shannon,
    kl_divergence,
    measured,
)

LOGITS = st.lists(st.floats(-30, 30, width=32), min_size=6, max_size=6)


def distribution(logits: list[float]) -> list[float]:
    total = sum(math.exp(x) for x in logits)
    return [math.exp(x) / total for x in logits]


def slow_kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def slow_measures(layer: list[float], last: list[float], came: int) -> list[float]:
    p, q = distribution(layer), distribution(last)
    mean = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    return [
        max(p),
        -sum(a * math.log(a) for a in p),
        -math.log(p[came]),
        1 + sum(x > layer[came] for x in layer),
        slow_kl(q, p),
        slow_kl(p, mean) / 2 + slow_kl(q, mean) / 2,
    ]


def log_p(logits: list[float]) -> torch.Tensor:
    return torch.tensor([logits]).log_softmax(-1)


@given(LOGITS, LOGITS, st.integers(0, 5))
def test_every_measure_is_the_sum_that_defines_it(layer, last, came):
    got = measured(log_p(layer), log_p(last), torch.tensor([came]))[0].tolist()
    want = slow_measures(layer, last, came)
    assert len(got) == len(MEASURES)
    rank = [measure.key for measure in MEASURES].index("rank")
    assert abs(got[rank] - want[rank]) <= sum(0 < abs(x - layer[came]) < 1e-4 for x in layer)  # near ties may round
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        assert i == rank or math.isclose(a, b, rel_tol=1e-4, abs_tol=2e-5), (MEASURES[i].key, a, b)


@given(LOGITS, LOGITS)
def test_divergences_have_the_bounds_of_divergences(a, b):
    p, q = log_p(a), log_p(b)
    assert kl_divergence(p, q) >= 0 and kl_divergence(p, p) == 0
    assert 0 <= jensen_shannon(p, q) <= math.log(2) + 1e-6
    assert torch.allclose(jensen_shannon(p, q), jensen_shannon(q, p), atol=1e-6)


def test_what_is_ruled_out_makes_one_divergence_infinite_and_no_other_number_nan():
    layer = torch.tensor([[0.0, -torch.inf, -torch.inf]])
    last = torch.tensor([[0.5, 0.5, 0.0]]).log()
    probability, entropy, cross_entropy, rank, kl, js = measured(layer, last, torch.tensor([1]))[0].tolist()
    assert (probability, entropy, cross_entropy, rank, kl) == (1.0, 0.0, math.inf, 2.0, math.inf)
    assert js == pytest.approx(slow_kl([1.0, 0.0, 0.0], [0.75, 0.25, 1]) / 2 + slow_kl([0.5, 0.5], [0.75, 0.25]) / 2)


def test_where_the_text_ends_nothing_is_said_about_the_next_token():
    numbers = measured(log_p([1.0, 2.0]), log_p([1.0, 2.0]), torch.tensor([NO_TOKEN]))[0]
    assert numbers.isnan().tolist() == [measure.key in ("cross_entropy", "rank") for measure in MEASURES]


def test_an_unknown_measure_is_named():
    with pytest.raises(InputError, match="there are probability, entropy.*got 'entrpy'; did you mean entropy"):
        check_measure("entrpy")
