"""Counts of n-grams within texts, which diversity and repetition share."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from autocontrastive_gen.evaluation.metrics.declaration import Context, Texts

ORDERS = (2, 3, 4)
COUNTS = tuple(f"{kind}_{n}" for n in ORDERS for kind in ("unique", "total"))
"""Columns of ``ngram_counts``, in the order that ``statistics.pooled_product`` takes."""


@lru_cache(maxsize=2**16)
def ngram_counts(text: str) -> tuple[int, ...]:
    """Unique and total 2-, 3- and 4-grams of whitespace-separated words: (unique_2, total_2, ..., total_4).

    As SimCTG's script counts them (Su et al. 2022, https://arxiv.org/abs/2202.06417): the last n-gram of a text is
    left out.
    """
    words = text.split()
    counts: list[int] = []
    for n in ORDERS:
        grams = [tuple(words[i : i + n]) for i in range(len(words) - n)]
        counts += [len(set(grams)), len(grams)]
    return tuple(counts)


def repetition(counts: Sequence[int]) -> tuple[float, ...] | None:
    """(rep-2, rep-3, rep-4) as fractions from (pooled) counts; None if an order has no n-gram.

    Rounded to 2 decimals of a per cent, as SimCTG's script does before it goes on to diversity.
    """
    pairs = list(zip(counts[0::2], counts[1::2], strict=True))
    if any(total == 0 for _, total in pairs):
        return None
    return tuple(round(100 * (1 - unique / total), 2) / 100 for unique, total in pairs)


def count_columns(texts: Texts, context: Context) -> dict[str, list[int]]:
    """The columns ``COUNTS`` of texts."""
    counts = [ngram_counts(row["continuation"]) for rows in texts.values() for row in rows]
    return {column: [row[i] for row in counts] for i, column in enumerate(COUNTS)}
