"""A finished run in small: the files and the lock that a pipeline leaves, written without running one."""

from __future__ import annotations

import hashlib
import math
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation.files import write_csv, write_json, write_jsonl, write_text
from autocontrastive_gen.review import tracking
from autocontrastive_gen.review.records import cell_folder, cell_name, grid_cells

DOMAINS, PROMPTS = ("made-a", "made-b"), 8
METRICS = ("diversity_per_text", "coherence")
COUNTS = {"total_2": 10, "total_3": 9, "total_4": 8}


@dataclass
class SmallRun:
    """Writes a run of one tiny model below the current directory; the attributes are what a user would edit."""

    learning_rate: float = 0.001
    top_p: float = 0.95
    samples: int = 1000
    settings: tuple[str, ...] = ("greedy", "greedy-acd")
    title: str = "Smoke"
    shift: float = 0.0
    """Added to the diversity of contrast, as a change of code would."""
    code: str = "x = 1\n"
    paths: Paths = field(default_factory=lambda: Paths("smoke"))

    @property
    def run(self) -> dict:
        return {"models": ["tiny"], "settings": list(self.settings), "benchmark_settings": ["original", "acd"]}

    @property
    def plan(self) -> dict:
        common = {"seed": 1, "domains": list(DOMAINS)}
        decoder = {"method": "top-p", "top_p": self.top_p}
        cell = {**common, "new_tokens": 5, "batch_size": 2, "model": {"asset": "model", "dtype": "float32"}}
        generate = {name: {**cell, "decoder": decoder} for name in self.settings}
        benchmark = {name: {"seed": 1, "tasks": ["last-word"], "limit": None} for name in ("original", "acd")}
        return {
            "prepare": {"prompts": PROMPTS},
            "train": {"tiny": {"learning_rate": self.learning_rate, "betas": [0.9, 0.95]}},
            "select": {"tiny": {"new_tokens": 5, "model": {"lower": "auto"}}},
            "generate": {"tiny": generate},
            "score": {"tiny": {**common, "bootstrap": {"samples": self.samples, "level": 0.95}}},
            "benchmark": {"tiny": benchmark},
            "report": {"title": self.title, **self.run},
            "track": {"experiment": "small", "models": ["tiny"]},
        }

    def write(self) -> SmallRun:
        params = {
            "profile": self.paths.profile,
            "run": self.run,
            "train": {"learning_rate": self.learning_rate},
            "decoders": {"greedy": {"method": "greedy"}, "top-p": {"method": "top-p", "top_p": self.top_p}},
            "contrasts": {"acd": {"method": "acd"}},
            "score": {"bootstrap": {"samples": self.samples, "level": 0.95}},
        }
        write_text("params.yaml", yaml.safe_dump(params))
        write_json(self.paths.plan, self.plan)
        write_text("src/decode.py", self.code)
        write_json(self.paths.data_card, {"documents": 12, "licence": "made for tests"})
        for stage, model, setting in grid_cells(self.run):
            getattr(self, f"_{stage}")(model, setting)
        write_text(self.paths.reports / "index.html", f"<title>{self.title}</title>")
        write_text(self.paths.reports / "tables" / "quality.csv", "setting,diversity\n")
        self._write_lock()
        return self

    def _train(self, model: str, _: str) -> None:
        curve = [
            {"step": step, "tokens": step * 64, "layer": layer, "loss": 5 / (step + 1), "validation_perplexity": None}
            for step in range(3)
            for layer in (2, 4)
        ]
        write_csv(self.paths.curves(model), list(curve[0]), curve)
        quality = {"perplexity": 90.0, "agreement": self.learning_rate, "entropy": 2.0, "tokens": 100}
        write_json(self.paths.exit_quality(model), {name: {"2": quality, "original": quality} for name in DOMAINS})
        write_text(self.paths.exits(model) / "exits.safetensors", "weights")

    def _select(self, model: str, _: str) -> None:
        plain, scores = {"diversity": 0.2, "coherence": 0.5}, {"diversity": 0.4, "coherence": 0.5}
        chosen = {"lower": 4, "parameters": {"alpha": 0.3}}
        selection = {"chosen": chosen, "plain": plain, "candidates": [chosen | scores]}
        write_json(self.paths.selection(model), {"acd": selection})
        for setting in (*self.run["settings"], *self.run["benchmark_settings"]):
            lower, contrast = (4, {"method": "acd", "alpha": 0.3}) if "acd" in setting else (None, None)
            content = {"upper": "original", "lower": lower, "contrast": contrast, "exits": {}}
            write_json(self.paths.resolved(model, setting), content)

    def _generate(self, model: str, setting: str) -> None:
        for domain in DOMAINS:
            rows = [
                {"id": f"{domain}-{i}", "prompt": "It was", "continuation": f"{setting} {self.top_p} {i}"}
                for i in range(PROMPTS)
            ]
            write_jsonl(self.paths.texts(model, setting, domain), rows)

    def _score(self, model: str, _: str) -> None:
        rows, metrics = [], {}
        for setting in (*self.settings, "human"):
            draw = random.Random(setting)
            lift = self.shift if setting.endswith("acd") else 0.0
            metrics[setting] = {}
            for domain in DOMAINS:
                table = [self._document(draw, lift) for _ in range(PROMPTS)]
                rows += [
                    {"setting": setting, "domain": domain, "id": f"{domain}-{i}", **row} for i, row in enumerate(table)
                ]
                values = {name: sum(row[name] for row in table) / PROMPTS for name in METRICS}
                values |= {"diversity": self._diversity(table), "perplexity": self._perplexity(table), "mauve": 0.9}
                metrics[setting][domain] = {
                    name: {"value": value, "low": value - 0.1, "high": value + 0.1 * self.samples, "n": PROMPTS}
                    for name, value in values.items()
                }
        write_json(self.paths.metrics(model), metrics)
        write_csv(self.paths.per_prompt(model), list(rows[0]), rows)

    def _document(self, draw: random.Random, lift: float) -> dict[str, float]:
        scores = {name: draw.random() * 0.01 + lift for name in METRICS}
        unique = {f"unique_{n}": COUNTS[f"total_{n}"] - draw.randrange(3) for n in (2, 3, 4)}
        return scores | {"perplexity": 20 + draw.random()} | unique | COUNTS

    def _diversity(self, table: list[dict]) -> float:
        return math.prod(sum(row[f"unique_{n}"] for row in table) / (PROMPTS * COUNTS[f"total_{n}"]) for n in (2, 3, 4))

    def _perplexity(self, table: list[dict]) -> float:
        return math.exp(sum(math.log(row["perplexity"]) for row in table) / PROMPTS)

    def _benchmark(self, model: str, setting: str) -> None:
        values = [int(i % 3 == 0 or setting == "acd") for i in range(12)]
        result = {"acc,none": {"value": sum(values) / 12, "stderr": 0.1, "n": 12}}
        write_json(self.paths.results(model, setting), {"last-word": result})
        rows = [{"task": "last-word", "id": str(i), "metric": "acc", "value": value} for i, value in enumerate(values)]
        write_csv(self.paths.items(model, setting), list(rows[0]), rows)

    def _write_lock(self) -> None:
        """The lock as DVC would write it: each cell reads what its forerunners have written."""
        paths = self.paths
        stages = {"prepare": self._stage("prepare", {}, [], [paths.data_card])}
        folders = {cell: cell_folder(paths, *cell) for cell in grid_cells(self.run)}
        for (stage, model, setting), folder in folders.items():
            reads = {
                "train": [paths.data_card],
                "select": [paths.data_card],
                "generate": [Path("src/decode.py")],
                "score": [other for cell, other in folders.items() if cell[0] == "generate"],
                "benchmark": [Path("src/decode.py")],
            }[stage]
            entry, key = self.plan[stage][model], ".".join(filter(None, (stage, model, setting)))
            params = {key: entry[setting] if setting else entry}
            name = cell_name(stage, model, setting)
            stages[name] = self._stage(f"run {name}", params, reads, [folder])
        report = [paths.reports / "index.html", paths.reports / "tables"]
        stages["report"] = self._stage("report", {"report": self.plan["report"]}, list(folders.values()), report)
        write_text("dvc.lock", yaml.safe_dump({"schema": "2.0", "stages": stages}))

    def _stage(self, command: str, params: dict, deps: list[Path], outs: list[Path]) -> dict:
        plan = {self.paths.plan.as_posix(): params}
        return {"cmd": command, "params": plan, "deps": _hashed(deps), "outs": _hashed(outs)}


def _hashed(paths: list[Path]) -> list[dict]:
    return [{"path": path.as_posix(), "hash": "md5", "md5": _md5(path)} for path in paths]


def _md5(path: Path) -> str:
    files = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
    return hashlib.md5(b"".join(file.read_bytes() for file in files)).hexdigest() + ".dir" * path.is_dir()


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory) -> bytes:
    """A migrated MLflow database: creating one takes seconds, copying it none."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path.read_bytes()


@pytest.fixture(scope="session")
def start_project(empty_database) -> Callable[[Path, pytest.MonkeyPatch], SmallRun]:
    """Makes a folder a project with a finished run and an empty store, and the current directory."""

    def start(folder: Path, patch: pytest.MonkeyPatch) -> SmallRun:
        for variable in [name for name in os.environ if name.startswith(("MLFLOW_", "DVC_"))]:
            patch.delenv(variable)
        patch.setattr(tracking, "SCRATCH", Path(".scratch"))
        patch.chdir(folder)
        Path("mlflow.db").write_bytes(empty_database)
        return SmallRun().write()

    return start


@pytest.fixture
def small_run(tmp_path, monkeypatch, start_project) -> SmallRun:
    return start_project(tmp_path, monkeypatch)
