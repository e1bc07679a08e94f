"""What differs between two states of the project: parameters, code, data, cells, and every metric."""

from __future__ import annotations

import io
import logging
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from autocontrastive_gen.evaluation.metrics import Metric, exit_metrics, item_metric, text_metrics
from autocontrastive_gen.experiment.lock import Entry
from autocontrastive_gen.foundation import statistics
from autocontrastive_gen.foundation.digests import seed_for
from autocontrastive_gen.foundation.errors import InputError, MissingFileError
from autocontrastive_gen.report.results import plain_metric, read_rows, totals_by_document
from autocontrastive_gen.review.records import cell_name, flatten
from autocontrastive_gen.review.snapshots import State

log = logging.getLogger(__name__)

DATA_STAGES = ("fetch", "prepare")
SINGLE_STAGES = (*DATA_STAGES, "report", "track")
_ROUNDING = 2e-3
"""Reported values are rounded, diversity as in SimCTG's script."""


@dataclass(frozen=True)
class Change:
    """Something that differs between the states; None where a state lacks it."""

    what: str
    a: str | None
    b: str | None


@dataclass(frozen=True)
class Row:
    """A metric in both states. ``part`` is a domain or a task; ``paired`` is B - A over the documents of both."""

    model: str
    setting: str
    part: str
    metric: str
    a: float | None
    b: float | None
    paired: statistics.Comparison | None
    direction: str = "neutral"
    """Of the metric: which values are better."""

    @property
    def changed(self) -> bool:
        return self.a != self.b or bool(self.paired and self.paired.difference.high > self.paired.difference.low)

    @property
    def verdict(self) -> str:
        """``better`` or ``worse`` in B; empty if the interval contains 0, or no direction is better."""
        found = self.paired and self.paired.difference
        if not found or found.low <= 0 <= found.high or self.direction == "neutral":
            return ""
        return "better" if (found.low > 0) == (self.direction == "higher") else "worse"


@dataclass(frozen=True)
class Difference:
    a: str
    b: str
    params: list[Change]
    code: list[Change]
    code_stat: str
    """``git diff --stat`` of the code, where git knows both states."""
    data: list[Change]
    cells: dict[str, str]
    """Cells whose results may differ, and why."""
    metrics: list[Row]


@dataclass
class Group:
    """Metrics of one setting on one domain or task: values, and one row per text or item where they were kept."""

    values: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, Metric] = field(default_factory=dict)
    table: pd.DataFrame | None = None
    """By document and id."""

    def documents(self, metric: Metric) -> pd.DataFrame | None:
        """The metric's summands; None if they were not kept, are infinite or do not give the reported value."""
        value, rows = self.values.get(metric.key), None if self.table is None else metric.documents(self.table)
        if value is None or rows is None or not len(rows) or not np.isfinite(rows.to_numpy()).all():
            return None
        return rows if np.isclose(metric.value(rows.to_numpy()), value, rtol=_ROUNDING, atol=_ROUNDING) else None


def compare(a: State, b: State) -> Difference:
    """Everything that differs from ``a`` to ``b``, and every metric of both.

    Raises:
        MissingFileError: a state has no finished run.
        InputError: one cell is compared with a whole run, or with a cell of another stage.
    """
    if (a.cell is None) != (b.cell is None) or a.cell and b.cell and a.cell[0] != b.cell[0]:
        raise InputError(f"{a.label} and {b.label}: a single cell can only be compared with a cell of the same stage")
    code = _changes(_code(a), _code(b))
    rows = list(_rows(a, b))
    for state, values in ((a, [row.a for row in rows]), (b, [row.b for row in rows])):
        _require_results(state, values)
    return Difference(
        a.label,
        b.label,
        _changes(flatten(_params(a)), flatten(_params(b))),
        code,
        _diff_stat(a, b, [change.what for change in code]),
        _changes(_data(a), _data(b)),
        _cells(a, b),
        rows,
    )


def _require_results(state: State, values: list[float | None]) -> None:
    """Say which results are not there, or raise MissingFileError if none are."""
    lacking = state.lacking
    said = f"{state.label}: {len(lacking)} files of results are not here"
    said += (
        f", such as {lacking[0]}; {state.remedy}" if lacking else f": no run of profile {state.paths.profile} has ended"
    )
    if state.cell is None and all(value is None for value in values):
        raise MissingFileError(said)
    if lacking:
        log.warning("%s", said)


def _changes(a: dict[str, str], b: dict[str, str]) -> list[Change]:
    return [Change(key, a.get(key), b.get(key)) for key in {**a, **b} if a.get(key) != b.get(key)]


def _params(state: State) -> dict[str, Any]:
    if state.cell is None:
        return state.params
    _, model, setting = state.cell
    return {"model": model, "setting": setting, **state.lock[cell_name(*state.cell)].values}


def _code(state: State) -> dict[str, str]:
    """{file or folder of code that the run has read: md5}.

    The lock also keeps what cells of other profiles and of earlier runs have read: that is no part of this state.
    """
    names = [cell_name(*cell) for cell in state.grid] + ([] if state.cell else list(SINGLE_STAGES))
    entries = [state.lock[name] for name in names if name in state.lock]
    read = {path: md5 for entry in entries for path, md5 in entry.deps.items()}
    return {path: md5 for path, md5 in sorted(read.items()) if not path.startswith(("runs/", "reports/"))}


def _data(state: State) -> dict[str, str]:
    """Digests of what was fetched and prepared, and the figures of the data card."""
    name = state.paths.profile
    found = {
        path.replace(f"runs/{name}/", ""): md5
        for stage in DATA_STAGES
        if stage in state.lock
        for path, md5 in state.lock[stage].outs.items()
        if path.startswith(f"runs/{name}/{stage}")
    }
    return found | flatten(state.read_json(state.paths.data_card) or {}, "card.")


def _cells(a: State, b: State) -> dict[str, str]:
    first, second = (
        {_cell_title(state, cell): state.lock.get(cell_name(*cell)) for cell in state.grid} for state in (a, b)
    )
    reasons = {}
    for name in {**first, **second}:
        old, new = first.get(name), second.get(name)
        if old is None or new is None:
            reasons[name] = f"only in {(b if old is None else a).label}"
        elif old.key != new.key:
            reasons[name] = _reason(old, new)
    return reasons


def _cell_title(state: State, cell: tuple[str, str, str]) -> str:
    return cell[0] if state.cell else cell_name(*cell)


def _reason(old: Entry, new: Entry) -> str:
    parts = {
        "parameters": [change.what for change in _changes(flatten(old.values), flatten(new.values))],
        "inputs": [change.what for change in _changes(old.deps, new.deps)],
        "command": [new.cmd] if old.cmd != new.cmd else [],
    }
    return "; ".join(f"{kind}: {', '.join(found)}" for kind, found in parts.items() if found)


def _diff_stat(a: State, b: State, files: list[str]) -> str:
    if a.commit is None:  # the workspace: git compares a commit with the files on disk
        a, b = b, a
    if a.commit is None or not files:
        return ""
    command = ["git", "diff", "--stat=120", a.commit, *filter(None, [b.commit]), "--", *files]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.rstrip() if done.returncode == 0 else ""


def _rows(a: State, b: State) -> Iterator[Row]:
    groups = _groups(a), _groups(b)
    options = b.params["score"]["bootstrap"]  # samples and level
    for key in {**groups[0], **groups[1]}:
        first, second = (side.get(key, Group()) for side in groups)
        metrics = first.metrics | second.metrics
        for name in {**first.values, **second.values}:
            metric = metrics.get(name)
            paired = metric and _paired(first, second, metric, seed=seed_for(*key, name), **options)
            direction = metric.direction if metric else "neutral"
            yield Row(*key, name, first.values.get(name), second.values.get(name), paired, direction)


def _paired(a: Group, b: Group, metric: Metric, **options: Any) -> statistics.Comparison | None:
    """Difference B - A over the documents of both; None where the documents do not add up to the metric."""
    first, second = (side.documents(metric) for side in (a, b))
    if first is None or second is None:
        return None
    both = first.index.intersection(second.index, sort=False)
    if not len(both):
        return None
    old, new = (totals_by_document(side.loc[both]) for side in (first, second))
    if np.array_equal(old, new):
        return statistics.Comparison(statistics.Interval(0.0, 0.0, 0.0, len(old)), 1.0, None)
    return statistics.paired_difference(new, old, statistics.per_row(metric.statistic), **options)


def _groups(state: State) -> dict[tuple[str, str, str], Group]:
    """Metrics by (model, setting, part); of a single cell without model and setting, which may differ."""
    if state.cell is None:
        return {
            key: group
            for stage, model, setting in state.grid
            for key, group in _READERS[stage](state, model, setting).items()
        }
    stage, model, setting = state.cell
    found = _READERS["score" if stage == "generate" else stage](state, model, setting)
    if setting:
        return {("", "", part): group for (_, name, part), group in found.items() if name == setting}
    return {("", name, part): group for (_, name, part), group in found.items()}


def _scored(state: State, model: str, _: str) -> dict[tuple[str, str, str], Group]:
    table = _csv(state.read(state.paths.per_prompt(model)))
    found = {}
    for setting, domains in (state.read_json(state.paths.metrics(model)) or {}).items():
        for domain, metrics in domains.items():
            values = {name: entry["value"] for name, entry in metrics.items()}
            rows = None
            if table is not None:
                rows = table[(table["setting"] == setting) & (table["domain"] == domain)]
                rows = rows.set_index(["document", "id"])
            found[model, setting, domain] = Group(values, text_metrics(), rows)
    return found


def _benchmarked(state: State, model: str, setting: str) -> dict[tuple[str, str, str], Group]:
    table = _csv(state.read(state.paths.items(model, setting)))
    found = {}
    for task, metrics in (state.read_json(state.paths.results(model, setting)) or {}).items():
        values = {plain_metric(name): entry["value"] for name, entry in metrics.items()}
        rows = None
        if table is not None:
            rows = table[table["task"] == task].assign(metric=lambda rows: rows["metric"].map(plain_metric))
            rows = rows.pivot_table(index=["document", "id"], columns="metric", values="value", sort=False)
        found[model, setting, task] = Group(values, {name: item_metric(name) for name in values}, rows)
    return found


def _trained(state: State, model: str, _: str) -> dict[tuple[str, str, str], Group]:
    quality = state.read_json(state.paths.exit_quality(model)) or {}
    found = {}
    for domain, layers in quality.items():
        for layer, values in layers.items():
            setting = layer if layer == "original" else f"exit{layer}"
            found[model, setting, domain] = Group(_without_errors(values), exit_metrics())
    return found


def _without_errors(values: dict[str, float]) -> dict[str, float]:
    errors = {metric.error for metric in exit_metrics().values()}
    return {name: value for name, value in values.items() if name not in errors}


def _nothing(state: State, model: str, setting: str) -> dict:
    return {}  # texts are compared by their scores


_READERS = {"train": _trained, "select": _nothing, "generate": _nothing, "score": _scored, "benchmark": _benchmarked}


def _csv(text: str | None) -> pd.DataFrame | None:
    return None if text is None else read_rows(io.StringIO(text))
