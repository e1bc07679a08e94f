"""The declared metrics, found by the modules of this package."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from autocontrastive_gen.evaluation.metrics.declaration import ExitMetric, ItemMetric, Metric, TextMetric

T = TypeVar("T", bound=Metric)


@cache
def declared() -> tuple[Metric, ...]:
    """Every metric of the package, by rank; no two of one kind may share a key."""
    package = importlib.import_module(__package__)
    found: dict[tuple[type, str], Metric] = {}
    for name in sorted(module.name for module in pkgutil.iter_modules(package.__path__)):
        for metric in getattr(importlib.import_module(f"{__package__}.{name}"), "METRICS", ()):
            if (type(metric), metric.key) in found:
                raise TypeError(f"{name}.py: a {type(metric).__name__} {metric.key!r} is declared already")
            found[type(metric), metric.key] = metric
    return tuple(sorted(found.values(), key=lambda metric: (metric.rank, metric.key)))


def text_metrics() -> dict[str, TextMetric]:
    """Metrics of generated texts by key, in the order of a table's columns."""
    return _of(TextMetric)


def scored_metrics(options: Mapping[str, Any]) -> list[TextMetric]:
    """Metrics of generated texts that the section ``score`` of the parameters asks for."""
    return [metric for metric in text_metrics().values() if not metric.option or options.get(metric.option)]


def exit_metrics() -> dict[str, ExitMetric]:
    """Qualities of an exit by key, in the order of a table's columns."""
    return _of(ExitMetric)


def item_metric(key: str) -> ItemMetric:
    """A metric of lm-eval; an undeclared one counts as a mean over items without a direction."""
    unknown = ItemMetric(key=key, title=key, meaning="as lm-eval computes it", direction="neutral")
    return _of(ItemMetric).get(key, unknown)


def _of(kind: type[T]) -> dict[str, T]:
    return {metric.key: metric for metric in declared() if isinstance(metric, kind)}
