"""The cells of a run with what readers compare: parameters, metrics and files.

This is what ``track`` publishes. Nothing here knows MLflow.
"""

from __future__ import annotations

import csv
import json
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from autocontrastive_gen.evaluation.metrics import text_metrics
from autocontrastive_gen.experiment.lock import Entry
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation.digests import fingerprint
from autocontrastive_gen.foundation.errors import InputError, MissingFileError
from autocontrastive_gen.foundation.files import read_json, read_jsonl
from autocontrastive_gen.foundation.trees import leaves

TABLE_ROWS = 50
"""Rows per domain in a table of sample texts; the artifact of the cell has them all."""

COST = "cost/"
"""Prefix of metrics that differ when the same cell runs again."""


@dataclass(frozen=True)
class Point:
    """One value of a metric; ``step`` is the training step of a point of a curve, else None."""

    name: str
    value: float
    step: int | None = None


@dataclass(frozen=True)
class Cell:
    """A stage of the lock with its content, ready to be published.

    ``version`` changes with what else the content depends on: other stages score and benchmark what ``generate`` wrote.
    """

    entry: Entry
    model: str
    setting: str = ""
    version: str = ""
    params: dict[str, str] = field(default_factory=dict)
    points: tuple[Point, ...] = ()
    files: dict[str, Path] = field(default_factory=dict)
    """Name of the artifact -> file."""
    table: dict[str, list] | None = None
    """Columns of sample texts."""
    benchmarked: str = ""
    """Of a cell of ``generate``: the setting of the benchmarks whose results it holds as well."""

    @property
    def seconds(self) -> float:
        """Wall time of its last run; 0 if it was not measured."""
        return next((point.value for point in self.points if point.name == f"{COST}wall_s"), 0.0)


def cell_name(stage: str, model: str, setting: str = "") -> str:
    """Name that DVC gives to a cell of a matrix."""
    return f"{stage}@{model}" + (f"-{setting}" if setting else "")


def cell_folder(paths: Paths, stage: str, model: str, setting: str = "") -> Path:
    """Folder with the results of a cell."""
    return getattr(paths, stage)(*filter(None, (model, setting)))


def grid_cells(run: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(stage, model, setting) of every cell; setting is "" for train and score.

    ``run`` has the keys ``models``, ``settings`` and ``benchmark_settings``: it is ``run`` of the parameters, or
    ``report`` of the plan.
    """
    grid = {"train": [""], "select": [""], "generate": run["settings"], "score": [""]}
    for stage, settings in {**grid, "benchmark": run["benchmark_settings"]}.items():
        yield from ((stage, model, setting) for model in run["models"] for setting in settings)


def read_cells(profile: str, plan: dict[str, Any], lock: dict[str, Entry]) -> list[Cell]:
    """Every cell of the plan, read from the lock and from its files.

    Raises ValueError if the lock lacks a cell or knows it in another state than its neighbours, OSError if a file is
    absent.
    """
    grid = list(grid_cells(plan["report"]))
    _check_lock([cell_name(*cell) for cell in grid], lock)
    reader = _Reader(Paths(profile), plan, lock)
    return [reader.cell(*cell) for cell in grid]


def _check_lock(names: list[str], lock: dict[str, Entry]) -> None:
    missing = [name for name in names if name not in lock]
    if missing:
        raise InputError(f"dvc.lock has no {', '.join(missing)}; run `dvc repro` to complete the run")
    written = {path: (name, md5) for name in lock for path, md5 in lock[name].outs.items()}
    stale = [
        f"{name} has read {path} in another state than {written[path][0]} has written it"
        for name in names
        for path, md5 in lock[name].deps.items()
        if path in written and written[path][1] != md5
    ]
    if stale:
        raise InputError("\n".join([*stale, "run `dvc repro` to bring the run up to date"]))


@dataclass
class _Reader:
    paths: Paths
    plan: dict[str, Any]
    lock: dict[str, Entry]

    def cell(self, stage: str, model: str, setting: str) -> Cell:
        entry = self.lock[cell_name(stage, model, setting)]
        plan = self.plan[stage][model]
        folder = cell_folder(self.paths, stage, model, setting)
        if not folder.is_dir():
            raise MissingFileError(f"{folder}: results of {entry.name} are absent; `dvc checkout` or `dvc pull` them")
        version, benchmarked = entry.key, ""
        if stage == "generate":
            benchmarked = self._benchmark_of(model, setting)
            others = [cell_name("score", model), *([cell_name("benchmark", model, benchmarked)] if benchmarked else [])]
            version = fingerprint([version, *(self.lock[name].key for name in others)])
        return Cell(
            entry,
            model,
            setting,
            version,
            params=flatten({"model": model, "setting": setting or None, **self._parameters(plan, model, setting)}),
            points=(*getattr(self, f"_{stage}")(model, setting), *self._cost(entry)),
            files=_artifacts(folder),
            table=self._texts(model, setting) if stage == "generate" else None,
            benchmarked=benchmarked,
        )

    def _parameters(self, plan: dict[str, Any], model: str, setting: str) -> dict[str, Any]:
        """A cell's entry of the plan and, of a setting, the exits and the contrast that it ran with."""
        if not setting:
            return plan
        resolved = read_json(self.paths.resolved(model, setting))
        return {**plan[setting], **{key: resolved[key] for key in ("upper", "lower", "contrast")}}

    def _train(self, model: str, _: str) -> Iterator[Point]:
        for row in _rows(self.paths.curves(model)):
            for column in ("loss", "validation_perplexity"):
                yield from _point(f"{column}/{_exit(row['layer'])}", row[column], int(row["step"]))
        for domain, layers in read_json(self.paths.exit_quality(model)).items():
            for layer, values in layers.items():
                for metric, value in values.items():
                    yield from _point(f"{domain}/{metric}/{_exit(layer)}", value)

    def _select(self, model: str, _: str) -> Iterator[Point]:
        for prefix, path in (("", self.paths.selection(model)), ("benchmarks/", self.paths.benchmark_selection(model))):
            for contrast, selection in (read_json(path) if path.exists() else {}).items():
                yield from _chosen(f"{prefix}{contrast}", selection)

    def _generate(self, model: str, setting: str) -> Iterator[Point]:
        """The scores of the texts, their means over domains, and benchmarks with the same exits and contrast."""
        domains = self._scores[model].get(setting, {})
        for domain, values in domains.items():
            yield from _intervals(domain, values)
        for metric in (metric.key for metric in text_metrics().values() if metric.headline):
            if domains and all(metric in values for values in domains.values()):
                yield from _point(metric, sum(values[metric]["value"] for values in domains.values()) / len(domains))
        if benchmarked := self._benchmark_of(model, setting):
            yield from (point for point in self._benchmark(model, benchmarked) if not point.name.endswith("_stderr"))

    def _benchmark_of(self, model: str, setting: str) -> str:
        """The benchmark setting that combines the same exits in the same way, or ""; decoders do not matter there."""
        combined = self._combination(model, setting)
        names = self.plan["report"]["benchmark_settings"]
        return next((name for name in names if self._combination(model, name) == combined), "")

    def _combination(self, model: str, setting: str) -> tuple[Any, ...]:
        resolved = read_json(self.paths.resolved(model, setting))
        return tuple(resolved[key] for key in ("upper", "lower", "contrast"))

    def _score(self, model: str, _: str) -> Iterator[Point]:
        for setting, domains in self._scores[model].items():
            for domain, values in domains.items():
                yield from _intervals(f"{setting}/{domain}", values)

    def _benchmark(self, model: str, setting: str) -> Iterator[Point]:
        for task, values in read_json(self.paths.results(model, setting)).items():
            for metric, result in values.items():
                name = f"{task}/{metric.removesuffix(',none')}"
                yield from _point(name, result["value"])
                yield from _point(f"{name}_stderr", result.get("stderr"))

    def _cost(self, entry: Entry) -> Iterator[Point]:
        path = self.paths.cost(entry.stage, entry.name.partition("@")[2])
        if path.exists():
            cost = read_json(path)
            for name in ("wall_s", "cpu_s", "peak_rss_bytes"):
                yield from _point(f"{COST}{name}", cost.get(name))

    @cached_property
    def _scores(self) -> dict[str, Any]:
        return {model: read_json(self.paths.metrics(model)) for model in self.plan["score"]}

    def _texts(self, model: str, setting: str) -> dict[str, list]:
        domains = self.plan["generate"][model][setting]["domains"]
        rows = [
            (domain, row["id"], row["prompt"], row["continuation"])
            for domain in domains
            for row in read_jsonl(self.paths.texts(model, setting, domain))[:TABLE_ROWS]
        ]
        names = ("domain", "id", "prompt", "continuation")
        return {name: [row[i] for row in rows] for i, name in enumerate(names)}


def headline(cells: list[Cell]) -> tuple[Point, ...]:
    """Metrics of a whole run as ``<model>/<setting>/<domain or task>/<metric>``, intervals left out."""
    return tuple(
        Point(f"{cell.model}/{cell.setting + '/' if cell.setting else ''}{point.name}", point.value)
        for cell in cells
        if cell.entry.stage in ("score", "benchmark")
        for point in cell.points
        if not point.name.endswith(("_low", "_high", "_stderr")) and not point.name.startswith(COST)
    )


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Leaves of nested mappings as text under dotted names; lists as JSON, None left out."""
    return {
        _safe(name): value if isinstance(value, str) else json.dumps(value)
        for name, value in leaves(tree, prefix).items()
        if value is not None
    }


def _safe(name: str) -> str:
    """MLflow allows letters, digits and ``_-. /`` in names: lm-eval's ``acc,none`` is refused."""
    return re.sub(r"[^\w\-. /]", "-", name)


def _artifacts(folder: Path) -> dict[str, Path]:
    """Files worth reading of a cell: weights stay with DVC, and so do the small files between stages."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".safetensors")
    names = ((path.relative_to(folder), path) for path in files)
    return {name.as_posix(): path for name, path in names if name.parts[0] != "settings"}


def _chosen(name: str, selection: dict[str, Any]) -> Iterator[Point]:
    """What was chosen of a contrast, and the scores of every candidate."""
    chosen = selection["chosen"] or {"lower": None, "parameters": {}}
    for key, value in {"lower": chosen["lower"], **chosen["parameters"]}.items():
        if isinstance(value, int | float):
            yield from _point(f"{name}/{key}", value)
    for candidate in ({"lower": None, "parameters": {}, **selection["plain"]}, *selection["candidates"]):
        for metric in ("diversity", "coherence", "coherence_error", "accuracy", "accuracy_error"):
            yield from _point(f"{name}/{metric}/{_candidate(candidate)}", candidate.get(metric))


def _candidate(candidate: dict[str, Any]) -> str:
    """A candidate of the choice: ``exit15``, ``exit15/alpha 0.1``, or ``plain``."""
    layer = [] if candidate["lower"] is None else [f"exit{candidate['lower']}"]
    return "/".join([*layer, *(f"{name} {value}" for name, value in candidate["parameters"].items())]) or "plain"


def _exit(layer: str) -> str:
    return f"exit{layer}" if str(layer).isdigit() else str(layer)


def _intervals(prefix: str, values: dict[str, dict]) -> Iterator[Point]:
    for metric, estimate in values.items():
        yield from _point(f"{prefix}/{metric}", estimate["value"])
        for bound in ("low", "high"):
            yield from _point(f"{prefix}/{metric}_{bound}", estimate.get(bound))


def _point(name: str, value: Any, step: int | None = None) -> Iterator[Point]:
    """The value as a point, or no point for what was not measured; infinity as MLflow's stores keep it."""
    if value not in (None, "") and not math.isnan(float(value)):
        largest = sys.float_info.max
        yield Point(_safe(name), max(-largest, min(largest, float(value))), step)


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():  # released exits are measured, not trained: no curve
        return []
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
