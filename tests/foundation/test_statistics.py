from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autocontrastive_gen.foundation import statistics


def counts(seed: int, documents: int = 12) -> np.ndarray:
    """(unique, total) of 2-, 3- and 4-grams for made documents."""
    rng = np.random.default_rng(seed)
    total = rng.integers(40, 60, (documents, 3))
    unique = (total * rng.uniform(0.3, 1, (documents, 1))).astype(int)
    return np.stack([unique, total], axis=-1).reshape(documents, 6)


def test_pooled_product_is_the_product_of_pooled_ratios():
    rows = counts(0)
    slow = 1.0
    for k in range(3):
        slow *= sum(rows[:, 2 * k]) / sum(rows[:, 2 * k + 1])
    assert statistics.interval(rows, statistics.pooled_product, samples=200).value == pytest.approx(slow)


def test_texts_without_n_grams_have_no_diversity():
    assert statistics.pooled_product(np.array([0.0, 0.0, 3.0, 4.0]), 1) == 0


def test_percentile_interval_equals_a_slow_bootstrap_over_documents():
    rows = counts(1)
    found = statistics.interval(rows, statistics.pooled_product, samples=4000, seed=3, method="percentile")
    rng = np.random.default_rng(9)
    slow = []
    for _ in range(4000):
        totals = rows[rng.integers(0, len(rows), len(rows))].sum(axis=0)
        slow.append(np.prod(totals[0::2] / totals[1::2]))
    assert [found.low, found.high] == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=0.012)


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_interval_covers_the_truth_about_as_often_as_it_says(method):
    rng = np.random.default_rng(6)
    hits = 0
    for trial in range(250):
        found = statistics.interval(rng.exponential(1.0, 40), samples=400, level=0.9, seed=trial, method=method)
        hits += found.low <= 1.0 <= found.high
    assert 0.82 <= hits / 250 <= 0.96


def test_same_seed_same_interval_and_batches_do_not_matter(monkeypatch):
    rows = counts(2)
    first = statistics.interval(rows, statistics.pooled_product, samples=300, seed=7)
    assert statistics.interval(rows, statistics.pooled_product, samples=300, seed=7) == first
    assert statistics.interval(rows, statistics.pooled_product, samples=300, seed=8) != first
    monkeypatch.setattr(statistics, "_BATCH", 1000)
    assert statistics.interval(rows, statistics.pooled_product, samples=300, seed=7) == first


def test_documents_that_are_all_alike_give_an_interval_of_one_point():
    assert statistics.interval(np.full(9, 0.25)) == statistics.Interval(0.25, 0.25, 0.25, 9)
    assert statistics.interval(np.array([0.5])) == statistics.Interval(0.5, 0.5, 0.5, 1)


@given(
    st.lists(st.floats(-100, 100).map(lambda x: round(x, 3)), min_size=2, max_size=15),
    st.sampled_from(["bca", "percentile"]),
)
@settings(max_examples=40, deadline=None)
def test_interval_is_ordered_and_within_the_values(values, method):
    found = statistics.interval(np.array(values), samples=100, method=method)
    assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9
    assert found.n == len(values)


def test_sign_flip_p_value_equals_full_enumeration():
    rng = np.random.default_rng(11)
    a, b = rng.normal(0.6, 1, 9), rng.normal(0, 1, 9)
    deltas = a - b
    flips = [abs(np.mean(deltas * signs)) for signs in itertools.product((1, -1), repeat=9)]
    exact = np.mean(np.array(flips) >= abs(deltas.mean()) - 1e-12)
    found = statistics.paired_difference(a, b, samples=2000)
    assert found.p_value == pytest.approx(exact)
    assert found.difference.value == pytest.approx(deltas.mean())
    assert found.effect == pytest.approx(deltas.mean() / deltas.std(ddof=1))


def test_pooled_difference_pairs_documents():
    b = counts(3, 30)
    a = b.copy()
    a[:, 0::2] = np.minimum(a[:, 1::2], a[:, 0::2] + 4)  # a little more diverse in every document
    found = statistics.paired_difference(a, b, statistics.pooled_product, samples=999)
    apart = statistics.interval(b, statistics.pooled_product, samples=999)
    assert found.difference.low > 0 and found.p_value == pytest.approx(2 / 1000, abs=1e-9)
    assert found.difference.high - found.difference.low < (apart.high - apart.low) / 2

    def gain(rows):
        return float(statistics.pooled_product(a[rows].sum(0), 1) - statistics.pooled_product(b[rows].sum(0), 1))

    everyone = np.arange(30)
    pseudo = [30 * gain(everyone) - 29 * gain(np.delete(everyone, i)) for i in everyone]
    assert found.effect == pytest.approx(gain(everyone) / np.std(pseudo, ddof=1))


def test_no_difference_has_p_value_one():
    rows = counts(4)
    found = statistics.paired_difference(rows, rows, statistics.pooled_product, samples=200)
    assert found.p_value == 1 and found.difference.low == found.difference.high == 0


def test_p_values_are_uniform_if_nothing_differs():
    rng = np.random.default_rng(13)
    p = [statistics.paired_difference(*rng.normal(size=(2, 14)), samples=300, seed=i).p_value for i in range(120)]
    assert 0.3 < np.mean(np.array(p) < 0.5) < 0.7 and np.mean(np.array(p) < 0.05) < 0.12


def test_holm_by_hand():
    assert statistics.holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}) == pytest.approx(
        {"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02}
    )
    assert statistics.holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}
    assert statistics.holm({}) == {}


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: statistics.interval(np.array([])), "at least one document"),
        (lambda: statistics.interval(np.array([1.0, np.nan])), "1 of 2 documents"),
        (lambda: statistics.interval(np.arange(4.0), method="t"), "'t' is not one of"),
        (lambda: statistics.paired_difference(np.arange(4.0), np.arange(5.0)), "row by row"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def one_sided_slow(differences: np.ndarray, threshold: float) -> float:
    """All sign flips, one by one."""
    values = differences - threshold
    sums = [sum(s * v for s, v in zip(signs, values, strict=True)) for signs in itertools.product((1, -1), repeat=8)]
    return sum(total >= values.sum() - 1e-12 for total in sums) / len(sums)


@pytest.mark.parametrize("threshold", [0.0, -0.5, 0.5])
def test_one_sided_test_of_a_mean_flips_all_signs(threshold):
    a, b = np.random.default_rng(3).normal(size=(2, 8))
    assert statistics.one_sided(a, b, threshold=threshold) == pytest.approx(one_sided_slow(a - b, threshold))


def test_one_sided_tests_of_both_sides_share_out_the_flips():
    a, b = np.random.default_rng(4).normal(size=(2, 9))
    above, below = statistics.one_sided(a, b, threshold=0.2), statistics.one_sided(b, a, threshold=-0.2)
    assert above + below == pytest.approx(1 + 2**-9), "the observed signs count on both sides"


def test_one_sided_test_of_diversity_uses_pseudo_values():
    a, b = counts(1, 8), counts(2, 8)
    whole = statistics.pooled_product(a.sum(0), 8) - statistics.pooled_product(b.sum(0), 8)
    left = [np.delete(np.arange(8), i) for i in range(8)]
    parts = [statistics.pooled_product(a[i].sum(0), 7) - statistics.pooled_product(b[i].sum(0), 7) for i in left]
    slow = one_sided_slow(8 * whole - 7 * np.array(parts), 0.1)
    assert statistics.one_sided(a, b, statistics.pooled_product, threshold=0.1) == pytest.approx(slow)


def test_one_sided_p_values_are_calibrated():
    rng = np.random.default_rng(6)
    p = [statistics.one_sided(*rng.normal(size=(2, 14)), samples=300, seed=i) for i in range(200)]
    assert 0.4 < np.mean(p) < 0.6 and 0.01 < np.mean(np.array(p) <= 0.05) < 0.1


def test_one_document_shows_nothing():
    assert statistics.one_sided(np.array([5.0]), np.array([0.0])) == 1.0


def clustered(seed: int = 2) -> tuple[np.ndarray, list[str]]:
    """Values of 12 documents with one to four rows each, alike within a document."""
    rng = np.random.default_rng(seed)
    documents = [f"d{i}" for i in range(12) for _ in range(1 + i % 4)]
    own = dict(zip(dict.fromkeys(documents), rng.normal(0, 1, 12), strict=True))
    return np.array([own[name] + 0.1 * rng.normal() for name in documents]), documents


def test_totals_by_document_are_those_of_a_loop():
    values, documents = clustered()
    names = list(dict.fromkeys(documents))
    slow = []
    for name in names:
        mine = [value for value, document in zip(values, documents, strict=True) if document == name]
        slow.append([sum(mine), len(mine)])
    assert statistics.by_document(values, documents) == pytest.approx(np.array(slow))
    whole = statistics.by_document(values, documents).sum(axis=0)
    assert statistics.per_row(statistics.mean)(whole, 12) == pytest.approx(values.mean())


def test_rows_of_one_document_are_resampled_together():
    values, documents = clustered()
    totals, mean = statistics.by_document(values, documents), statistics.per_row(statistics.mean)
    found = statistics.interval(totals, mean, samples=4000, seed=3, method="percentile")
    parts = [values[[document == name for document in documents]] for name in dict.fromkeys(documents)]
    rng = np.random.default_rng(9)
    slow = [np.concatenate([parts[i] for i in rng.integers(0, 12, 12)]).mean() for _ in range(4000)]
    assert [found.low, found.high] == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=0.04)
    apart = statistics.interval(values, samples=4000, seed=3, method="percentile")
    assert found.high - found.low > 1.3 * (apart.high - apart.low)


def test_the_same_rows_again_make_nothing_more_certain():
    a, b = np.random.default_rng(4).normal(0, 1, (2, 10))
    once = statistics.paired_difference(a, b, samples=500, seed=1)
    names = [f"d{i}" for i in range(10)]
    mean = statistics.per_row(statistics.mean)
    for times in (1, 3):
        rows = [statistics.by_document(np.repeat(values, times), np.repeat(names, times)) for values in (a, b)]
        found = statistics.paired_difference(*rows, mean, samples=500, seed=1)
        assert found.p_value == once.p_value and found.effect == pytest.approx(once.effect)
        ends = [(x.difference.low, x.difference.high, x.difference.n) for x in (found, once)]
        assert ends[0] == pytest.approx(ends[1])
        assert statistics.one_sided(*rows, mean, seed=1) == statistics.one_sided(a, b, seed=1)
