"""What contrast gains: paired comparisons of settings on the same documents."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from autocontrastive_gen.evaluation.metrics import item_metric, text_metrics
from autocontrastive_gen.foundation import statistics
from autocontrastive_gen.foundation.digests import seed_for
from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.report.results import Results


@dataclass(frozen=True)
class Gain:
    """One comparison inside a weighted sum: ``weight`` * (score of ``contrast`` - score of ``plain``)."""

    contrast: str
    plain: str
    weight: float = 1.0


def compare(
    results: Results,
    model: str,
    gains: list[Gain],
    metric: str,
    domain: str | None = None,
    margin: float = 0.0,
    **options: float,
) -> statistics.Comparison | None:
    """Weighted sum of gains over the documents that all its settings have; None if there are none, or one is infinite.

    Args:
        metric: key of a metric of texts.
        domain: one domain, or None for the documents of all of them together.
        margin: the p-value tests the sum against ``-margin`` instead of 0. Refused where the corpus value is not the
            mean over documents, as of diversity.
        options: ``samples`` and ``level`` of the test; by default those of the run's intervals.
    """
    declared = text_metrics()[metric]
    statistic = declared.statistic
    if margin and not declared.additive:
        raise InputError(f"a margin is defined for means over documents; the {metric} of a corpus is no such mean")
    names = dict.fromkeys(name for gain in gains for name in (gain.contrast, gain.plain))
    values = _aligned({name: results.values(model, name, metric, domain) for name in names})
    if not all(len(rows) and np.isfinite(rows).all() for rows in values.values()):
        return None
    signed = [(g, g.contrast, g.plain) if g.weight > 0 else (g, g.plain, g.contrast) for g in gains]
    a = np.concatenate([values[first] for _, first, _ in signed], axis=1)
    b = np.concatenate([values[second] for _, _, second in signed], axis=1)
    weights = [abs(gain.weight) for gain in gains]
    parts = [metric, domain, *(f"{g.contrast}-{g.plain}-{g.weight}" for g in gains)]
    options = _options(results, "gain", model, *parts) | options
    found = statistics.paired_difference(a, b, _weighted(statistic, weights, a.shape[1] // len(gains)), **options)
    if margin:
        shifted = statistics.paired_difference(
            a + margin / sum(weights), b, _weighted(statistic, weights, 1), **options
        )
        return statistics.Comparison(found.difference, shifted.p_value, found.effect)
    return found


def compare_items(
    results: Results, model: str, setting: str, metric: str, tasks: list[str] | None = None, **options: float
) -> statistics.Comparison | None:
    """A benchmark setting less the original head, item by item; over several tasks each task counts the same.

    None if the items were not kept or one is infinite.
    """
    tables = results.items.get(model, {})
    if setting not in tables or "original" not in tables:
        return None
    values = {name: _items(tables[name], metric, tasks).to_frame() for name in (setting, "original")}
    index = values[setting].index.intersection(values["original"].index, sort=False)
    if not len(index):
        return None
    task = index.get_level_values("task")
    weights = len(index) / (task.map(task.value_counts()) * task.nunique()).to_numpy()  # (items,), mean 1
    a, b = (table.loc[index, "value"].to_numpy() * weights for table in values.values())
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return None
    options = _options(results, "items", model, setting, metric, tasks) | options
    return statistics.paired_difference(a, b, item_metric(metric).statistic, **options)


def item_interval(results: Results, model: str, setting: str, task: str, metric: str) -> statistics.Interval | None:
    """Bootstrap interval of a benchmark's metric over its items; None if they were not kept or one is infinite."""
    table = results.items.get(model, {}).get(setting)
    values = _items(table, metric, [task]) if table is not None else pd.Series(dtype=float)
    if not len(values) or not np.isfinite(values).all():
        return None
    options = _options(results, "item", model, setting, task, metric)
    return statistics.interval(values.to_numpy(), item_metric(metric).statistic, **options)


def _items(table: pd.DataFrame, metric: str, tasks: list[str] | None) -> pd.Series:
    rows = table[table["metric"] == metric]
    rows = rows[rows["task"].isin(tasks)] if tasks else rows
    return rows.set_index(["task", "id"])["value"].astype(float).dropna()


def _aligned(tables: dict[str, pd.DataFrame]) -> dict[str, np.ndarray]:
    """Values of the rows that all tables have, in the order of the first."""
    first, *rest = tables.values()
    index = first.index
    for table in rest:
        index = index.intersection(table.index, sort=False)
    return {name: table.loc[index].to_numpy(dtype=float) for name, table in tables.items()}


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
