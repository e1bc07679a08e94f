"""Diversity: the product over n of (1 - rep-n), of the corpus and of each text (Su et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autocontrastive_gen.evaluation.metrics.declaration import Context, TextMetric, Texts
from autocontrastive_gen.evaluation.metrics.ngrams import COUNTS, count_columns, ngram_counts, repetition
from autocontrastive_gen.foundation.statistics import pooled_product


def diversity_of_counts(counts: Sequence[int]) -> float:
    """Product over n of (1 - rep-n); 0 for texts without n-grams, as in the reference."""
    repeated = repetition(counts)
    return 0.0 if repeated is None else float(np.prod([1 - rate for rate in repeated]))


def diversity(texts: Sequence[str]) -> float:
    """Corpus-level diversity: counts are summed over texts, the same n-gram in two texts is no repetition."""
    return diversity_of_counts(np.sum([ngram_counts(text) for text in texts], axis=0))


def diversity_per_text(texts: Sequence[str]) -> list[float]:
    """Diversity of each text on its own; the reference reports the mean."""
    return [diversity_of_counts(ngram_counts(text)) for text in texts]


def _per_text(texts: Texts, context: Context) -> dict[str, list]:
    return {"diversity_per_text": diversity_per_text([row["continuation"] for rows in texts.values() for row in rows])}


METRICS = (
    TextMetric(
        key="diversity",
        title="Diversity",
        unit="0–1",
        meaning="product over n = 2, 3, 4 of the share of distinct n-grams, counted in each text and pooled over the "
        "corpus",
        direction="higher",
        headline=True,
        rank=10,
        columns=COUNTS,
        per_text=count_columns,
        statistic=pooled_product,
        # the estimate is rounded as in SimCTG's script, the interval needs no rounding
        estimate=diversity_of_counts,
    ),
    TextMetric(
        key="diversity_per_text",
        title="Diversity per text",
        unit="0–1",
        meaning="the same product in each text, averaged over texts",
        direction="higher",
        shown=False,
        rank=60,
        columns=("diversity_per_text",),
        per_text=_per_text,
    ),
)
