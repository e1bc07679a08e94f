"""Differences between settings on the same documents, with their intervals and tests."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from autocontrastive_gen.evaluation.metrics import item_metric, text_metrics
from autocontrastive_gen.foundation import statistics
from autocontrastive_gen.foundation.digests import seed_for
from autocontrastive_gen.report.groups import in_groups
from autocontrastive_gen.report.results import Results, totals_by_document

PERMUTATIONS = 10_000
"""Random swaps of a test. The smallest p-value is 2 / 10,001; Holm's correction multiplies it by up to the number of
comparisons, and with 2,000 swaps none of a hundred could fall below 0.1."""


@dataclass(frozen=True)
class Gain:
    """One comparison inside a weighted sum: ``weight`` * (score of ``setting`` - score of ``baseline``)."""

    setting: str
    baseline: str
    weight: float = 1.0


@dataclass(frozen=True)
class Paired:
    """Two settings (or two sums of settings) on the same documents, ready to be compared.

    Attributes:
        a: rows of the first (documents, columns), as ``by_document`` makes them.
        b: rows of the second, of the same documents.
        statistic: the corpus value of such rows' totals.
        options: ``samples``, ``level`` and ``seed`` of the tests.
    """

    a: np.ndarray
    b: np.ndarray
    statistic: statistics.Statistic
    options: dict

    def difference(self, permutations: int = PERMUTATIONS, **options: float) -> statistics.Comparison:
        """First less second, with interval and two-sided test; ``options`` replace those of the run."""
        a, b = in_groups(self.a), in_groups(self.b)
        options = {**self.options, **options}
        found = statistics.paired_difference(a, b, self.statistic, permutations=permutations, **options)
        effect = None if found.effect is None else found.effect * math.sqrt(len(a) / len(self.a))  # as of documents
        return replace(found, difference=replace(found.difference, n=len(self.a)), effect=effect)

    def above(self, threshold: float, samples: int) -> float:
        """One-sided p-value of "the difference is above the threshold"."""
        options = {"threshold": threshold, "samples": samples, "seed": self.options["seed"]}
        return statistics.one_sided(self.a, self.b, self.statistic, **options)

    def below(self, threshold: float, samples: int) -> float:
        """One-sided p-value of "the difference is below the threshold"."""
        options = {"threshold": -threshold, "samples": samples, "seed": self.options["seed"]}
        return statistics.one_sided(self.b, self.a, self.statistic, **options)


def pair_texts(
    results: Results, model: str, gains: list[Gain], metric: str, domain: str | None = None
) -> Paired | None:
    """A weighted sum of gains over the prompts that all its settings have.

    Args:
        metric: key of a metric of texts.
        domain: one domain, or None for the prompts of all of them together.

    Returns:
        None if the settings have no prompt in common, or a value is infinite.
    """
    names = dict.fromkeys(name for gain in gains for name in (gain.setting, gain.baseline))
    values = _aligned({name: results.values(model, name, metric, domain) for name in names})
    if not all(len(rows) and np.isfinite(rows.to_numpy()).all() for rows in values.values()):
        return None
    signed = [(g.setting, g.baseline) if g.weight > 0 else (g.baseline, g.setting) for g in gains]
    a, b = (totals_by_document(pd.concat([values[pair[side]] for pair in signed], axis=1)) for side in (0, 1))
    weights = [abs(gain.weight) for gain in gains]
    width = values[gains[0].setting].shape[1]
    statistic = statistics.per_row(_weighted(text_metrics()[metric].statistic, weights, width))
    parts = [metric, domain, *(f"{g.setting}-{g.baseline}-{g.weight}" for g in gains)]
    return Paired(a, b, statistic, _options(results, "gain", model, *parts))


def pair_items(results: Results, model: str, setting: str, task: str, metric: str) -> Paired | None:
    """A benchmark setting and the original head on a task's items, by document.

    Returns:
        None if the items were not kept, or a value is infinite.
    """
    tables = results.items.get(model, {})
    if setting not in tables or "original" not in tables:
        return None
    values = [_items(tables[name], task, metric) for name in (setting, "original")]
    first, second = _aligned(dict(enumerate(values))).values()
    if not len(first) or not all(np.isfinite(table.to_numpy()).all() for table in (first, second)):
        return None
    options = _options(results, "items", model, setting, metric, [task])
    rows = (totals_by_document(table) for table in (first, second))
    return Paired(*rows, statistics.per_row(item_metric(metric).statistic), options)


def item_interval(results: Results, model: str, setting: str, task: str, metric: str) -> statistics.Interval | None:
    """Bootstrap interval of a benchmark's metric over its documents; None if they were not kept or one is infinite."""
    table = results.items.get(model, {}).get(setting)
    rows = _items(table, task, metric) if table is not None else None
    if rows is None or not len(rows) or not np.isfinite(rows.to_numpy()).all():
        return None
    statistic, options = item_metric(metric).statistic, _options(results, "item", model, setting, task, metric)
    totals = totals_by_document(rows)
    return replace(statistics.interval(in_groups(totals), statistics.per_row(statistic), **options), n=len(totals))


def _items(table: pd.DataFrame, task: str, metric: str) -> pd.DataFrame:
    """Values of a task's items, indexed by (document, id)."""
    rows = table[(table["metric"] == metric) & (table["task"] == task)]
    return rows.set_index(["document", "id"])[["value"]].dropna()


def _aligned(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Values of the rows that all tables have, in the order of the first."""
    first, *rest = tables.values()
    index = first.index
    if all(table.index.equals(index) for table in rest):
        return tables
    for table in rest:
        index = index.intersection(table.index, sort=False)
    return {name: table.loc[index] for name, table in tables.items()}


def _weighted(statistic: statistics.Statistic, weights: list[float], width: int) -> statistics.Statistic:
    """Sum over blocks of ``width`` columns of weight * statistic of the block."""
    if len(weights) == 1 and weights[0] == 1:
        return statistic

    def total(totals: np.ndarray, n: int) -> np.ndarray:
        blocks = (totals[..., i * width : (i + 1) * width] for i in range(len(weights)))
        return sum(weight * statistic(block, n) for weight, block in zip(weights, blocks, strict=True))

    return total


def _options(results: Results, *parts: object) -> dict:
    return {**results.plan["bootstrap"], "seed": seed_for(results.plan["seed"], *parts)}
