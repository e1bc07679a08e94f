"""Intervals and tests over documents, seeded and deterministic.

Every statistic here is a function of column *totals* over documents, ``rows`` of shape (documents, columns): a mean is
total / n, corpus diversity a product of ratios of totals (:func:`pooled_product`). The document is therefore always the
unit of resampling, and the same code serves per-document scores and pooled counts. Where a document has several rows,
:func:`by_document` adds them up and :func:`per_row` reads the totals.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass
from statistics import NormalDist

import numpy as np
from scipy import stats as scipy_stats

from autocontrastive_gen.foundation.errors import InputError

Statistic = Callable[[np.ndarray, int | np.ndarray], np.ndarray]
"""(totals of shape (..., columns), number of documents or numbers of shape (...)) -> values of shape (...)."""

_BATCH = 2**22
"""How many numbers a batch of resamples may hold: bounds memory, whatever the number of documents."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval and the number of documents (or texts, or items) behind it.

    ``low`` and ``high`` are None if a file states a value without an interval.
    """

    value: float
    low: float | None
    high: float | None
    n: int

    def as_dict(self) -> dict[str, float]:
        """As it is written to a file."""
        return asdict(self)


@dataclass(frozen=True)
class Comparison:
    """A paired difference ``a - b``: interval, two-sided p-value and standardised effect.

    ``effect`` is the difference divided by the standard deviation of the documents' jackknife pseudo-values (Efron and
    Stein 1981). For a mean, these are the differences themselves, and the effect is Cohen's d_z. It is None if all
    documents are alike.
    """

    difference: Interval
    p_value: float
    effect: float | None


def mean(totals: np.ndarray, n: int | np.ndarray) -> np.ndarray:
    """Mean over documents of the only column."""
    return totals[..., 0] / n


def exp_mean(totals: np.ndarray, n: int | np.ndarray) -> np.ndarray:
    """Exponential of the mean over documents: a perplexity, if the documents' values are nats per token."""
    with np.errstate(over="ignore"):  # exp(710) is infinite
        return np.exp(mean(totals, n))


def pooled_product(totals: np.ndarray, n: int | np.ndarray) -> np.ndarray:
    """Product over k of numerator / denominator, for totals with the columns (numerator_1, denominator_1, ...).

    Corpus diversity applies this to (unique, total) counts of 2-, 3- and 4-grams, counted in each text and summed over
    texts: the same n-gram in two texts is not a repetition. A ratio 0 / 0 counts as 0: without n-grams, there is no
    diversity.
    """
    numerator, denominator = totals[..., 0::2], totals[..., 1::2]
    ratio = np.divide(numerator, denominator, out=np.zeros_like(numerator, dtype=float), where=denominator != 0)
    return ratio.prod(axis=-1)


def by_document(rows: np.ndarray, documents: Iterable[Hashable]) -> np.ndarray:
    """Totals of each document's rows, and in the last column their number, in the order of the documents' first rows.

    Args:
        rows: (n,) or (n, columns).
        documents: the document of each row.
    """
    rows = np.asarray(rows, dtype=float)
    rows = rows[:, None] if rows.ndim == 1 else rows
    places: dict[Hashable, int] = {}
    at = [places.setdefault(document, len(places)) for document in documents]
    totals = np.zeros((len(places), rows.shape[1] + 1))
    np.add.at(totals, at, np.column_stack([rows, np.ones(len(rows))]))
    return totals


def per_row(statistic: Statistic) -> Statistic:
    """The statistic of all rows, from what ``by_document`` has made of them."""

    def of_totals(totals: np.ndarray, n: int | np.ndarray) -> np.ndarray:
        return statistic(totals[..., :-1], totals[..., -1])

    return of_totals


def normal_width(level: float) -> float:
    """Standard errors on either side of a normal interval: 1.96 for 0.95."""
    return NormalDist().inv_cdf(0.5 + level / 2)


def interval(
    rows: np.ndarray,
    statistic: Statistic = mean,
    *,
    samples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    method: str = "bca",
) -> Interval:
    """Bootstrap interval of a statistic over documents.

    Args:
        rows: (documents,) or (documents, columns), finite.
        statistic: function of the totals over documents; by default the mean of the only column.
        samples: bootstrap resamples.
        level: confidence level in (0, 1).
        seed: the same seed gives the same interval.
        method: "bca" (bias-corrected and accelerated, Efron 1987) or "percentile". If BCa is not defined, because all
            documents are alike or an end lies beyond the resamples, the percentile interval is returned.

    Returns:
        The estimate and its interval; with one document, the interval is the estimate itself.

    Raises:
        InputError: no documents, values that are not finite, or an unknown method.
    """
    rows = _checked(rows)
    n = len(rows)
    value = float(statistic(rows.sum(axis=0), n))
    if n == 1:
        return Interval(value, value, value, 1)
    low, high = _bootstrap(rows, statistic, samples, level, seed, method)
    return Interval(value, low, high, n)


def paired_difference(
    a: np.ndarray,
    b: np.ndarray,
    statistic: Statistic = mean,
    *,
    samples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    method: str = "bca",
    permutations: int | None = None,
) -> Comparison:
    """Compare two settings on the same documents, row by row: statistic of ``a`` less statistic of ``b``.

    The interval resamples documents, with both settings together. The p-value comes from a permutation test that swaps
    the two settings within documents (for means: sign flips). It is exact if all 2**n swaps are at most
    ``permutations`` (by default ``samples``); otherwise swaps are random and the observed arrangement is counted, so it
    is never below 2 / (permutations + 1).
    """
    a, b = _matched(a, b)
    difference = _difference(statistic, a.shape[1])
    rows = np.concatenate([a, b], axis=1)
    found = interval(rows, difference, samples=samples, level=level, seed=seed, method=method)
    p_value = _swap_test(a, b, statistic, samples if permutations is None else permutations, seed)
    return Comparison(found, p_value, _effect(rows, difference))


def one_sided(
    a: np.ndarray,
    b: np.ndarray,
    statistic: Statistic = mean,
    *,
    threshold: float = 0.0,
    samples: int = 2000,
    seed: int = 0,
) -> float:
    """p-value of "statistic of ``a`` less statistic of ``b`` is above ``threshold``", on the same documents.

    Flips the signs of the documents' jackknife pseudo-values less the threshold; for a mean these are the differences
    themselves. Exact where all 2**n flips are at most ``samples``, else random with the observed signs counted.
    "Below" is the same test with ``a`` and ``b`` exchanged and the threshold negated. 1.0 for a single document.
    """
    a, b = _matched(a, b)
    n = len(a)
    if n < 2:
        return 1.0
    values = _pseudo_values(np.concatenate([a, b], axis=1), _difference(statistic, a.shape[1])) - threshold
    sums, counted = _over_signs(lambda signs: signs @ values, n, samples, seed)
    # equal sums taken in another order must tie: round off the last bits
    reached = np.count_nonzero(np.round(sums, 12) >= np.round(values.sum(), 12))
    return float((reached + counted) / (len(sums) + counted))


def _matched(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = _checked(a), _checked(b)
    if a.shape != b.shape:
        raise InputError(f"paired values must match row by row: shapes {a.shape} and {b.shape}")
    return a, b


def _difference(statistic: Statistic, columns: int) -> Statistic:
    """Statistic of the first ``columns`` columns less that of the rest."""

    def difference(totals: np.ndarray, n: int | np.ndarray) -> np.ndarray:
        return statistic(totals[..., :columns], n) - statistic(totals[..., columns:], n)

    return difference


def _pseudo_values(rows: np.ndarray, statistic: Statistic) -> np.ndarray:
    """Jackknife pseudo-values (documents,): of a mean, the documents' own values."""
    n, totals = len(rows), rows.sum(axis=0)
    return n * statistic(totals, n) - (n - 1) * statistic(totals - rows, n - 1)


def _effect(rows: np.ndarray, statistic: Statistic) -> float | None:
    n = len(rows)
    if n < 2:
        return None
    spread = _pseudo_values(rows, statistic).std(ddof=1)
    return float(statistic(rows.sum(axis=0), n) / spread) if spread > 1e-9 else None


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down adjustment: p-values that are valid for the whole family of tests (Holm 1979)."""
    adjusted, highest = {}, 0.0
    for rank, key in enumerate(sorted(p_values, key=lambda key: (p_values[key], key))):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[key]))
        adjusted[key] = highest
    return {key: adjusted[key] for key in p_values}


def _checked(rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows, dtype=float)
    rows = rows[:, None] if rows.ndim == 1 else rows
    if rows.ndim != 2 or not rows.size:
        raise InputError(f"need values of at least one document, got shape {rows.shape}")
    if not np.isfinite(rows).all():
        raise InputError(f"{int((~np.isfinite(rows)).any(axis=1).sum())} of {len(rows)} documents are not finite")
    return rows


def _bootstrap(rows, statistic, samples, level, seed, method) -> tuple[float, float]:
    """The interval by scipy, which resamples the *indices* of documents."""
    if method not in ("bca", "percentile"):
        raise InputError(f"bootstrap method {method!r} is not one of bca, percentile")
    n, columns = rows.shape

    def of_indices(index, axis=-1):
        return statistic(rows[index].sum(axis=-2), index.shape[-1])

    def ends(kind):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", scipy_stats.DegenerateDataWarning)
            warnings.simplefilter("ignore", RuntimeWarning)
            result = scipy_stats.bootstrap(
                (np.arange(n),),
                of_indices,
                n_resamples=samples,
                batch=max(1, _BATCH // (n * columns)),
                confidence_level=level,
                method=kind,
                vectorized=True,
                rng=np.random.default_rng(seed),
            )
        return float(result.confidence_interval.low), float(result.confidence_interval.high)

    found = ends("BCa") if method == "bca" else (np.nan, np.nan)
    return found if np.isfinite(found).all() else ends("percentile")


def _swap_test(a: np.ndarray, b: np.ndarray, statistic: Statistic, samples: int, seed: int) -> float:
    n = len(a)
    if np.array_equal(a, b):
        return 1.0
    middle, half = (a + b).sum(axis=0) / 2, (a - b) / 2

    def differences(signs: np.ndarray) -> np.ndarray:
        """Differences of the arrangements in which the documents of sign -1 are swapped."""
        shift = signs @ half
        # equal arrangements that are summed in another order must tie: round off the last bits
        return np.round(statistic(middle + shift, n) - statistic(middle - shift, n), 12)

    observed = differences(np.ones((1, n)))[0]
    found, counted = _over_signs(differences, n, samples, seed)
    fewest = min(np.count_nonzero(found >= observed), np.count_nonzero(found <= observed))
    return min(1.0, 2 * float((fewest + counted) / (len(found) + counted)))


def _over_signs(
    function: Callable[[np.ndarray], np.ndarray], n: int, samples: int, seed: int
) -> tuple[np.ndarray, int]:
    """Values of a function of signs (rows, n): over all where they are at most ``samples``, else over random ones.

    Returns:
        The values, and how often the observed signs count besides: once among random ones, so that no p-value is 0.
    """
    if 2**n <= samples:
        return function(1.0 - 2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)), 0
    rng = np.random.default_rng(seed)
    sizes = (min(_BATCH // n, samples - start) for start in range(0, samples, _BATCH // n))
    return np.concatenate([function(rng.choice((-1.0, 1.0), (size, n))) for size in sizes]), 1
