"""The results of a run, read from the files of the cells that the plan names and of no others."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd

from autocontrastive_gen.evaluation.metrics import HUMAN, text_metrics
from autocontrastive_gen.experiment.paths import Paths, halfway
from autocontrastive_gen.experiment.settings import Grid, Setting
from autocontrastive_gen.foundation.digests import seed_for
from autocontrastive_gen.foundation.errors import mendable
from autocontrastive_gen.foundation.files import NOT_JSON, read_json, read_jsonl
from autocontrastive_gen.foundation.statistics import Interval, by_document, interval, per_row
from autocontrastive_gen.modeling.layers import read_depth
from autocontrastive_gen.report.groups import in_groups

_NO_ROWS = pd.DataFrame(columns=["setting", "domain", "document", "id"])


@dataclass
class Results:
    """All results of a profile. A file that is absent is no error: it is listed in ``missing`` and left out. So is the
    empty folder that ``profile use`` makes in its place for DVC."""

    paths: Paths
    plan: dict[str, Any]
    """The plan's entry "report"."""
    missing: list[str] = field(default_factory=list)
    _parts: dict[str, tuple[pd.DataFrame, dict[Hashable, pd.DataFrame]]] = field(default_factory=dict, repr=False)

    @property
    def models(self) -> dict[str, dict]:
        return self.plan["models"]

    @property
    def domains(self) -> dict[str, dict]:
        return self.plan["domains"]

    @cached_property
    def grid(self) -> Grid:
        """The settings of the run."""
        names = self.plan["settings"], self.plan["benchmark_settings"]
        return Grid.of(*names, self.plan["decoders"], self.plan["contrasts"])

    @property
    def settings(self) -> tuple[Setting, ...]:
        """The settings of generation."""
        return self.grid.settings

    def settings_with(self, contrast: str) -> list[Setting]:
        """The settings with a contrast, of generation and of benchmarks."""
        return [setting for setting in self.grid.all if setting.contrast == contrast]

    @property
    def decoders(self) -> tuple[str, ...]:
        """Names of the decoders, in the order of the run."""
        return tuple(dict.fromkeys(setting.decoder for setting in self.settings))

    @cached_property
    def pairs(self) -> list[tuple[Setting, Setting]]:
        """(contrast, plain) settings that can be compared, in the order of the run."""
        return self.grid.pairs

    @property
    def baseline(self) -> str:
        """The setting that all others are compared with."""
        return self.grid.baseline

    @property
    def comparisons(self) -> list[tuple[str, str]]:
        """(setting, what it is compared with): the baseline, and for a contrast its own decoder without."""
        plain = {contrast.name: plain.name for contrast, plain in self.pairs}
        found = []
        for name in self.plan["settings"]:
            against = dict.fromkeys([plain.get(name, self.baseline), self.baseline])
            found += [(name, other) for other in against if other != name]
        return found

    @cached_property
    def quality(self) -> dict[str, dict[str, dict[str, dict[str, Interval]]]]:
        """{model: {setting or "human": {domain: {metric: Interval}}}}."""
        found = {}
        for model in self.models:
            scores = self._json(self.paths.metrics(model)) or {}
            names = [name for name in [*self.plan["settings"], HUMAN] if name in scores]
            found[model] = {
                name: {
                    domain: {metric: _interval(entry) for metric, entry in scores[name][domain].items()}
                    for domain in self.domains
                    if domain in scores[name]
                }
                for name in names
            }
        return found

    @cached_property
    def per_prompt(self) -> dict[str, pd.DataFrame]:
        """{model: one row per setting, domain and prompt, which names its document}."""
        tables = {model: self._csv(self.paths.per_prompt(model)) for model in self.models}
        return {model: table for model, table in tables.items() if table is not None}

    @cached_property
    def drafts(self) -> dict[str, dict]:
        """{model: what its exits would be worth as drafts, as in ``Paths.drafts``}."""
        return {model: self._json(self.paths.drafts(model)) or {} for model in self.models}

    @cached_property
    def exit_training(self) -> dict[str, dict]:
        """{model: what its exit at the halfway layer gains from training, as in ``Paths.exit_training``}."""
        asked = self.plan["analyse"]["training_budgets"]
        found = {model: self._json(self.paths.exit_training(model)) for model in self.models} if asked else {}
        return {model: content for model, content in found.items() if content}

    @cached_property
    def answers(self) -> dict[str, pd.DataFrame]:
        """{model: one row per item and view, as in ``Paths.answers``}."""
        asked = self.plan["analyse"]["answers"]
        tables = {model: self._csv(self.paths.answers(model)) for model in self.models} if asked else {}
        return {model: table for model, table in tables.items() if table is not None}

    @cached_property
    def benchmarks(self) -> dict[str, dict[str, dict[str, dict[str, dict]]]]:
        """{model: {setting: {task: {metric: {value, stderr, n}}}}}; lm-eval's filter suffix is cut off."""
        found: dict[str, dict] = {}
        for model in self.models:
            for setting in self.plan["benchmark_settings"]:
                results = self._json(self.paths.results(model, setting))
                if results is not None:
                    found.setdefault(model, {})[setting] = {
                        task: {plain_metric(metric): entry for metric, entry in results[task].items()}
                        for task in results
                    }
        return found

    @cached_property
    def items(self) -> dict[str, dict[str, pd.DataFrame]]:
        """{model: {setting: one row per item and metric}}."""
        found: dict[str, dict] = {}
        for model in self.models:
            for setting in self.plan["benchmark_settings"]:
                table = self._csv(self.paths.items(model, setting))
                if table is not None:
                    table["metric"] = table["metric"].map(plain_metric)
                    found.setdefault(model, {})[setting] = table
        return found

    def item_formats(self, model: str, task: str) -> set[str]:
        """Formats of the sources that a local task's items come from; of another task's, {""}."""
        sources = self.data_card.get("sources", {})
        tables = (table[table["task"] == task] for table in self.items.get(model, {}).values())
        documents = {document for table in tables for document in table["document"].unique()}
        names = {document.rpartition("-")[0] for document in documents}
        return {sources.get(name, {}).get("format", "") for name in names}

    @cached_property
    def exits(self) -> dict[str, dict[str, dict[str, dict]]]:
        """{model: {domain: {layer or "original": {perplexity, agreement, entropy, tokens}}}}."""
        return {model: self._json(self.paths.exit_quality(model)) or {} for model in self.models}

    @property
    def benchmark_tasks(self) -> list[str]:
        """Tasks whose validation items chose for the benchmarks; empty if the benchmarks run with the texts' choice."""
        return self.plan["select"].get("benchmark_tasks", [])

    @cached_property
    def selection(self) -> dict[str, dict[str, dict]]:
        """{model: {contrast: what the rule saw and chose}} of the models for which it chooses something."""
        return self._selections(self.paths.selection)

    @cached_property
    def benchmark_selection(self) -> dict[str, dict[str, dict]]:
        """The same for benchmarks that choose apart."""
        return self._selections(self.paths.benchmark_selection) if self.benchmark_tasks else {}

    def _selections(self, path: Callable[[str], Path]) -> dict[str, dict[str, dict]]:
        some = any("choose" in contrast for contrast in self.plan["contrasts"].values())
        chosen = (name for name, model in self.models.items() if some or model["lower"] == "auto")
        found = {model: self._json(path(model)) for model in chosen}
        return {model: content for model, content in found.items() if content}

    @cached_property
    def curves(self) -> dict[str, pd.DataFrame]:
        """{model: training curve}; released exits have none."""
        found = {}
        for model in self.models:
            path = self.paths.curves(model)
            if path.is_file() and path.stat().st_size and len(table := pd.read_csv(path, dtype={"layer": str})):
                found[model] = table
        return found

    @cached_property
    def costs(self) -> dict[str, dict]:
        """{cell: cost} of the cells of this plan that have run."""
        folder = self.paths.cost("fetch").parent
        return {name: read_json(folder / f"{name}.json") for name in self.cells if (folder / f"{name}.json").is_file()}

    @cached_property
    def cells(self) -> list[str]:
        """Names of this plan's cells before the report, as in their cost files."""
        per_model = [f"{stage}-{model}" for stage in ("train", "select", "score", "analyse") for model in self.models]
        generate = [f"generate-{model}-{s.name}" for model in self.models for s in self.settings]
        bench = [f"benchmark-{model}-{name}" for model in self.models for name in self.plan["benchmark_settings"]]
        before = 2 * len(self.models)
        return ["fetch", "prepare", *per_model[:before], *generate, *per_model[before:], *bench]

    @property
    def begun(self) -> bool:
        """Whether a model has run in any cell of this plan."""
        return any(cell not in ("fetch", "prepare") for cell in self.costs)

    @property
    def confidence(self) -> str:
        """Confidence level of the run's intervals, as in "95 %"."""
        return f"{100 * self.plan['bootstrap']['level']:g} %"

    @cached_property
    def assets(self) -> dict[str, dict]:
        return self._json(self.paths.assets) or {}

    @cached_property
    def data_card(self) -> dict:
        return self._json(self.paths.data_card) or {}

    def resolved(self, model: str, setting: str) -> dict:
        """What a setting ran with: {"upper", "lower", "contrast", "exits"}; empty if ``select`` has not run."""
        path = self.paths.resolved(model, setting)
        return read_json(path) if path.is_file() else {}

    def texts(self, model: str, setting: str, domain: str, first: int) -> list[dict]:
        """The first texts of a file, of which the others are not read: with their notes, they may be large."""
        path = self.paths.texts(model, setting, domain)
        if not path.is_file():
            return []
        with open(path, encoding="utf-8") as file, mendable(f"{path}: is not readable as JSON lines", NOT_JSON):
            return [json.loads(line) for line in islice(filter(str.strip, file), first)]

    def humans(self, domain: str) -> dict[str, str]:
        """{id of the prompt: human continuation}."""
        path = self.paths.prompts(domain)
        return {row["id"]: row["human"] for row in read_jsonl(path)} if path.is_file() else {}

    def layers(self, model: str) -> int | None:
        """Number of layers of a model, from its fetched configuration; None if that is absent."""
        folder = self.paths.asset(self.models[model]["asset"])
        return read_depth(folder) if (folder / "config.json").exists() else None

    def halfway(self, model: str) -> int | None:
        """The paper's lower layer, if it carries an exit."""
        layers = self.layers(model)
        layer = None if layers is None else halfway(layers)
        return layer if layer in self.models[model]["exits"] else None

    def values(self, model: str, setting: str, metric: str, domain: str | None = None) -> pd.DataFrame:
        """Texts' summands of a metric, indexed by (domain, document, id); empty if they were not kept."""
        rows = self._rows_of(model, setting)
        domains = rows.index.get_level_values("domain")
        rows = rows[domains == domain if domain else domains.isin(list(self.domains))]
        found = text_metrics()[metric].documents(rows)
        return rows[[]].iloc[:0] if found is None else found

    def _rows_of(self, model: str, setting: str) -> pd.DataFrame:
        """Rows of ``per_prompt``, indexed by (domain, document, id); a table is taken apart once."""
        table, index = self.per_prompt.get(model, _NO_ROWS), ["domain", "document", "id"]
        known, parts = self._parts.get(model, (None, {}))
        if known is not table:
            small = table.astype(dict.fromkeys(index, "category"))  # so that names are compared once
            parts = dict(iter(small.groupby("setting")))
            self._parts[model] = table, parts
        return parts.get(setting, table.iloc[:0]).set_index(index)

    def pooled(self, model: str, setting: str) -> dict[str, Interval]:
        """{metric: value over the prompts of all domains together, with its interval}; infinite ones have none."""
        found = {}
        for key, metric in text_metrics().items():
            rows = self.values(model, setting, key).astype(float)
            if not metric.columns or not len(rows):
                continue
            found[key] = Interval(math.inf, None, None, len(rows))
            if np.isfinite(rows.to_numpy()).all():
                options = {"seed": seed_for(self.plan["seed"], "pooled", model, setting, key), **self.plan["bootstrap"]}
                estimate = interval(in_groups(totals_by_document(rows)), per_row(metric.statistic), **options)
                found[key] = replace(estimate, n=len(rows))
        return found

    @cached_property
    def strangers(self) -> list[str]:
        """Result folders of this profile that belong to no cell of the plan: ignored, but named."""
        known = {self.paths.generate(m, s.name) for m in self.models for s in self.settings}
        known |= {self.paths.benchmark(m, s) for m in self.models for s in self.plan["benchmark_settings"]}
        known |= {folder(m) for m in self.models for folder in (self.paths.score, self.paths.select, self.paths.train)}
        parents = sorted({path.parent for path in known})
        found = (child for parent in parents if parent.is_dir() for child in sorted(parent.iterdir()))
        return [child.as_posix() for child in found if child not in known and not child.name.startswith(".")]

    def _json(self, path: Path) -> Any:
        if path.is_file():
            return read_json(path)
        self._miss(path)
        return None

    def _csv(self, path: Path) -> pd.DataFrame | None:
        if path.is_file():
            return read_rows(path)
        self._miss(path)
        return None

    def _miss(self, path: Path) -> None:
        if path.as_posix() not in self.missing:
            self.missing.append(path.as_posix())


def read_rows(file: Path | TextIO) -> pd.DataFrame:
    """A table of texts or items; where it names no documents, as older ones, each row is a document of its own."""
    table = pd.read_csv(file, dtype={"id": str, "setting": str, "domain": str, "task": str, "document": str})
    return table if "document" in table else table.assign(document=table["id"])


def totals_by_document(rows: pd.DataFrame) -> np.ndarray:
    """``by_document`` of rows whose index has the level "document", and "domain" where documents of several meet."""
    levels = [level for level in ("domain", "document") if level in rows.index.names]
    return by_document(rows.to_numpy(dtype=float), rows.index.droplevel(rows.index.names.difference(levels)))


def plain_metric(name: str) -> str:
    """The name before the filter: lm-eval calls a metric ``acc,none``."""
    return name.partition(",")[0]


def _interval(entry: dict) -> Interval:
    return Interval(entry["value"], entry.get("low"), entry.get("high"), int(entry["n"]))
