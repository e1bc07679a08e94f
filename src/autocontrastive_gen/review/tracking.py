"""Publish the cells of a run to MLflow: each exactly once, whatever was interrupted, restored or run twice.

Stages write files and never talk to a server, because DVC restores a stage's outputs without running it. ``track``
then makes the store agree with the files. A run of MLflow is found by the tag ``cell.key``; the tag
``published`` is written last, so a run without it was interrupted and is filled in place.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from autocontrastive_gen.experiment.lock import LOCK, Entry
from autocontrastive_gen.experiment.params import PARAMS
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation.commands import alone
from autocontrastive_gen.foundation.digests import file_sha256, fingerprint
from autocontrastive_gen.foundation.errors import UserError, masked
from autocontrastive_gen.foundation.files import SCRATCH, read_json
from autocontrastive_gen.review.logged_models import RunModel, log_model
from autocontrastive_gen.review.mlflow_view import TAG, shared_view
from autocontrastive_gen.review.records import Cell, Point, flatten, headline

PIPELINE = "pipeline"
"""``dvc.stage`` of the run that holds the cells of a pipeline."""

TABLE = "samples.json"
"""Artifact of a generate cell that MLflow shows as a table, side by side for several runs."""

_KEY, _PUBLISHED = "cell.key", "published"
_PARENT = "mlflow.parentRunId"
_TAKEN = "BAD_REQUEST"  # how MLflow answers when a row that it would insert is there already
_PARAM_LIMIT = 6000  # characters that MLflow's stores accept
_DATA_USE = {"train": "training", "generate": "evaluation"}
_PROSE = ("title", "banner", "examples", "paper")
_DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


class TrackingError(UserError):
    """The store cannot be reached or refuses; nothing is lost, since the files hold every result."""


def project_root() -> Path:
    """Root of the user's project; DVC names it where a stage runs in a temporary copy (``dvc exp run --temp``)."""
    return Path(os.environ.get("DVC_ROOT") or ".").resolve()


def tracking_uri() -> str:
    """``MLFLOW_TRACKING_URI``, or the database file in the project's root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{project_root() / 'mlflow.db'}"


@dataclass(frozen=True)
class Document:
    """The content of one run of MLflow."""

    key: str
    name: str
    version: str
    """Written as the tag ``published`` after everything else."""
    tags: dict[str, str]
    params: dict[str, str] = field(default_factory=dict)
    points: tuple[Point, ...] = ()
    files: dict[str, Path] = field(default_factory=dict)
    table: dict[str, list] | None = None
    models: tuple[RunModel, ...] = ()
    seconds: float = 0.0
    """How long the work took; the run starts so long before it is published."""
    data_use: str = ""
    """What the run used the prepared text for, ``training`` or ``evaluation``; empty if for nothing."""


def publish(profile: str, plan: dict[str, Any], lock: dict[str, Entry], cells: list[Cell]) -> dict[str, int]:
    """Make the store agree with the cells and count the runs that were "created", "updated" and "unchanged".

    Raises:
        TrackingError: the store cannot be reached or refuses.
    """
    label = _label()
    common = {"profile": profile, "dvc.exp": os.environ.get("DVC_EXP_NAME", ""), **_commit_tag()}
    card = _data_card(Paths(profile))
    with alone(SCRATCH / "track.lock", "publishes runs of this project"), store_faults():
        store = _Store(tracking_uri(), plan["track"]["experiment"])
        pipeline = _pipeline(profile, label, plan, lock, cells)
        parent = store.find_or_create(pipeline, common)
        several = len(plan["report"]["models"]) > 1
        documents = [_document(cell, several) for cell in cells]
        for document in documents:
            run = store.find_or_create(document, common, parent=parent.info.run_id)
            store.fill(run, document, card)
        store.fill(parent, pipeline, card)
        store.settle(pipeline, documents)
        store.choose_columns(shared_view(cells))
        return store.count


def _document(cell: Cell, several_models: bool) -> Document:
    outs = {path: md5 for path, md5 in cell.entry.outs.items() if "/cost/" not in path}
    tags = {"dvc.stage": cell.entry.name, "dvc.md5": " ".join(outs.values()), "model": cell.model}
    tags |= {"setting": cell.setting} if cell.setting else {}
    return Document(
        cell.entry.key,
        _name(cell, several_models),
        cell.version,
        tags,
        cell.params,
        cell.points,
        cell.files,
        cell.table,
        seconds=cell.seconds,
        data_use=_DATA_USE.get(cell.entry.stage, ""),
    )


def _name(cell: Cell, several_models: bool) -> str:
    """A short name: the setting for what it generates, else the stage; with the model if the run has several."""
    stage = "" if cell.entry.stage == "generate" else cell.entry.stage
    return " ".join(filter(None, (cell.model if several_models else "", stage, cell.setting)))


def _pipeline(profile: str, label: str, plan: dict, lock: dict[str, Entry], cells: list[Cell]) -> Document:
    """The parent run: one per distinct set of cells, with the report, the models and every headline metric."""
    keys = {cell.entry.name: cell.entry.key for cell in cells}
    report = lock.get("report")
    tags = {"dvc.stage": PIPELINE, "cells": str(len(cells))}
    tags |= {"dvc.md5": " ".join(report.outs.values())} if report else {}
    choices = {key: value for key, value in plan["report"].items() if key not in _PROSE}
    return Document(
        key=fingerprint([profile, keys]),
        name=f"{profile}-{label}",
        version=fingerprint([report.key, report.outs] if report else keys),
        tags=tags,
        params=flatten({**choices, "profile": profile, "prepare": plan["prepare"], "train": plan["train"]}),
        points=headline(cells),
        files=_report_files(Paths(profile)),
        models=tuple(RunModel.of(Paths(profile), plan, name, project_root()) for name in plan["report"]["models"]),
        seconds=sum(cell.seconds for cell in cells),
        data_use="training and evaluation",
    )


def _report_files(paths: Paths) -> dict[str, Path]:
    """The files of the report, and those needed to compare this run with others."""
    files = [path for path in sorted(paths.reports.rglob("*")) if path.is_file()]
    report = {path.relative_to(paths.reports).as_posix(): path for path in files}
    return report | {path.name: path for path in (PARAMS, LOCK, paths.data_card) if path.exists()}


def _data_card(paths: Paths) -> dict[str, str] | None:
    """Fields of an MLflow dataset for the prepared text."""
    path = paths.data_card
    if not path.exists():
        return None
    return {
        "name": f"{paths.profile}-text",
        "digest": file_sha256(path)[:12],
        "source_type": "local",
        "source": json.dumps({"uri": (project_root() / path).as_posix()}),
        "profile": json.dumps(read_json(path)),
    }


class _Store:
    """The few calls to MLflow that publishing needs."""

    def __init__(self, uri: str, experiment: str) -> None:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        self.client = MlflowClient(uri)
        self.count = {"created": 0, "updated": 0, "unchanged": 0}
        self._new: dict[str, str] = {}
        found = self.client.get_experiment_by_name(experiment)
        if found is None:
            # a server chooses its own place for artifacts; those of a local database go into the project's root
            place = (project_root() / "mlartifacts").as_uri() if uri.startswith("sqlite:") else None
            try:
                self.experiment = self.client.create_experiment(experiment, place)
            except MlflowException:  # another publisher came first
                found = self.client.get_experiment_by_name(experiment)
                if found is None:
                    raise
        if found is not None:
            self.experiment = found.experiment_id

    def find_or_create(self, document: Document, tags: dict[str, str], parent: str | None = None):
        """The run with the document's key. Publishers that create it at once keep the oldest and drop their own."""
        runs = self._find(document.key)
        if runs:
            return runs[0]
        nested = {_PARENT: parent} if parent else {}
        tags = {**tags, **document.tags, **nested, _KEY: document.key}
        start = int(1000 * (time.time() - document.seconds))
        own = self.client.create_run(self.experiment, start, tags, document.name).info.run_id
        first = self._find(document.key)[0]
        if first.info.run_id == own:
            self._new[document.key] = own
        else:
            self.client.delete_run(own)
        return first

    def settle(self, parent: Document, children: Sequence[Document]) -> None:
        """Look again for runs that this publisher created: one with an earlier start may have shown itself since."""
        first = self._find(parent.key)[0].info.run_id
        for document in (parent, *children):
            if document.key not in self._new:
                continue
            kept, *later = self._find(document.key)
            for run in later:
                self.client.delete_run(run.info.run_id)
            if kept.data.tags.get(_PARENT, first) != first:
                self.client.set_tag(kept.info.run_id, _PARENT, first)

    def _find(self, key: str) -> list:
        runs = self.client.search_runs([self.experiment], f"tags.`{_KEY}` = '{key}'")
        return sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))

    def fill(self, run, document: Document, card: dict[str, str] | None) -> None:
        """Write what the run still lacks of the document; try again if another publisher wrote the same row first."""
        from mlflow.exceptions import MlflowException

        for pause in (0.2, 0.5, 1, 2, None):
            try:
                return self._fill(run, document, card)
            except MlflowException as error:
                first = self._find(document.key)[0]
                dropped = first.info.run_id != run.info.run_id  # as the later of two, by another publisher
                if pause is None or not (dropped or error.error_code == _TAKEN):
                    raise
                time.sleep(pause)
                run = first

    def _fill(self, run, document: Document, card: dict[str, str] | None) -> None:
        """The tag ``published`` comes last."""
        if run.data.tags.get(_PUBLISHED) == document.version:
            self.count["unchanged"] += 1
            return
        run_id = run.info.run_id
        self._log_values(run, document)
        for name, path in document.files.items():
            self.client.log_artifact(run_id, str(path), os.path.dirname(name) or None)
        if document.table and not self._has_artifact(run_id, TABLE):  # log_table would append its rows again
            self.client.log_table(run_id, document.table, TABLE)
        for model in document.models:
            log_model(self.client, run, model)
        if card and document.data_use:
            self._log_input(run_id, card, document.data_use)
        if run.info.status != "FINISHED":
            self.client.set_terminated(run_id, end_time=run.info.start_time + round(1000 * document.seconds))
        self.client.set_tag(run_id, _PUBLISHED, document.version)
        self.count["created" if run_id == self._new.get(document.key) else "updated"] += 1

    def _log_values(self, run, document: Document) -> None:
        from mlflow.entities import Metric, Param

        known, now = run.data, int(time.time() * 1000)
        params = [Param(k, v[:_PARAM_LIMIT]) for k, v in document.params.items() if k not in known.params]
        metrics = [
            # a curve's points carry the run's own time, so that a point logged twice is one point in the store
            Metric(p.name, p.value, now if p.step is None else run.info.start_time, p.step or 0)
            for p in document.points
            if p.step is not None or known.metrics.get(p.name) != p.value
        ]
        for batch in _batches(params, 100):
            self.client.log_batch(run.info.run_id, params=batch)
        for batch in _batches(metrics, 1000):
            self.client.log_batch(run.info.run_id, metrics=batch)

    def choose_columns(self, view: str) -> None:
        """Let the table of runs open with the columns of the run that was published last."""
        if self.client.get_experiment(self.experiment).tags.get(TAG) != view:
            self.client.set_experiment_tag(self.experiment, TAG, view)

    def _has_artifact(self, run_id: str, name: str) -> bool:
        return any(file.path == name for file in self.client.list_artifacts(run_id))

    def _log_input(self, run_id: str, card: dict[str, str], use: str) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        tags = [InputTag("mlflow.data.context", use)]
        self.client.log_inputs(run_id, datasets=[DatasetInput(Dataset(**card), tags)])


def _batches(items: list, size: int) -> Iterator[list]:
    """Slices of at most ``size`` items, the limit of one request."""
    return (items[i : i + size] for i in range(0, len(items), size))


@contextmanager
def store_faults() -> Iterator[None]:
    """Fail fast and say what to do: MLflow would try a dead server or database again for minutes."""
    for variable, value in (("MAX_RETRIES", "1"), ("BACKOFF_FACTOR", "1"), ("TIMEOUT", "30")):
        os.environ.setdefault(f"MLFLOW_HTTP_REQUEST_{variable}", value)
    try:
        _check_database_server(tracking_uri())
        with suppress(ImportError):  # without SQLAlchemy there is no database
            from mlflow.store.db import utils

            utils.MAX_RETRY_COUNT = 3
        yield
    except Exception as error:  # MLflow, SQLAlchemy, requests and the artifact store's library each raise their own
        reason = " ".join(str(error).split())[:500]
        raise TrackingError(
            f"MLflow store {masked(tracking_uri())}: {type(error).__name__}: {masked(reason)}\n"
            "the results are safe in runs/ and reports/; start the server or correct MLFLOW_TRACKING_URI, "
            "then `make track` (or the next `dvc repro`) publishes them"
        ) from error


def _check_database_server(uri: str) -> None:
    """Try a database's port once, where MLflow would try ten times with growing pauses."""
    parts = urlsplit(uri)
    port = next((port for name, port in _DATABASE_PORTS.items() if parts.scheme.startswith(name)), None)
    if port and parts.hostname:
        socket.create_connection((parts.hostname, parts.port or port), timeout=10).close()


def _label() -> str:
    return os.environ.get("DVC_EXP_NAME") or _git("rev-parse", "--short", "HEAD") or "no-git"


def _commit_tag() -> dict[str, str]:
    commit = _git("rev-parse", "HEAD")
    return {"mlflow.source.git.commit": commit} if commit else {}


def _git(*arguments: str) -> str:
    """Output of a git command, empty outside a repository or before its first commit."""
    done = subprocess.run(["git", *arguments], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""
