"""Repetition: rep-n, the percentage of n-grams that repeat an earlier one of their text (Su et al. 2022)."""

from __future__ import annotations

import math

import numpy as np

from autocontrastive_gen.evaluation.metrics.declaration import Context, TextMetric, Texts
from autocontrastive_gen.evaluation.metrics.ngrams import ORDERS, count_columns, ngram_counts, repetition
from autocontrastive_gen.foundation.statistics import pooled_product


def _per_text(texts: Texts, context: Context) -> dict[str, list]:
    rates = [repetition(ngram_counts(row["continuation"])) for rows in texts.values() for row in rows]
    columns = {f"rep_{n}": [rate and 100 * rate[i] for rate in rates] for i, n in enumerate(ORDERS)}
    return columns | count_columns(texts, context)


def _pooled(totals: np.ndarray, n: int) -> np.ndarray:
    return 100 * (1 - pooled_product(totals, n))


def _estimate(totals: np.ndarray) -> float:
    return 100 * (1 - totals[0] / totals[1]) if totals[1] else math.nan


METRICS = tuple(
    TextMetric(
        key=f"rep_{n}",
        title=f"Rep-{n}",
        unit="%",
        meaning=f"per cent of {n}-grams that repeat an earlier one of their text",
        direction="lower",
        digits=2,
        shown=False,
        rank=70,
        columns=(f"unique_{n}", f"total_{n}"),
        per_text=_per_text,
        statistic=_pooled,
        estimate=_estimate,
    )
    for n in ORDERS
)
