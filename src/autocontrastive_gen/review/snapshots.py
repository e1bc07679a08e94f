"""States of the project that can be compared: the workspace, a git revision, a DVC experiment, an MLflow run.

Each returns the text of a file by its path in the project, wherever the file is kept.
"""

from __future__ import annotations

import subprocess
from functools import cached_property
from pathlib import Path
from typing import Any

from autocontrastive_gen.experiment.lock import LOCK, Entry, parse_lock
from autocontrastive_gen.experiment.params import PARAMS
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation.errors import InputError, MissingFileError, did_you_mean
from autocontrastive_gen.foundation.files import parse_json, parse_yaml
from autocontrastive_gen.review.records import cell_folder, cell_name, grid_cells
from autocontrastive_gen.review.tracking import PIPELINE, store_faults, tracking_uri

WORKSPACE = "workspace"


class State:
    """A state of the project. ``cell`` is (stage, model, setting) if the state is a single cell."""

    remedy = "`dvc pull` or `dvc repro` brings them"
    """How to get results that dvc.lock records and that are not there."""

    commit: str | None = None
    cell: tuple[str, str, str] | None = None

    def __init__(self, label: str) -> None:
        self.label = label
        self._absent: list[Path] = []

    def read(self, path: Path) -> str | None:
        """Text of a file; None if this state does not have it."""
        text = self._read(path)
        if text is None:
            self._absent.append(path)
        return text

    def _read(self, path: Path) -> str | None:
        raise NotImplementedError

    @property
    def lacking(self) -> list[Path]:
        """Files that were asked for and are not there, although dvc.lock says that the run has made them."""
        made = {Path(out) for entry in self.lock.values() for out in entry.outs}
        return [path for path in self._absent if not made.isdisjoint((path, *path.parents))]

    def need(self, path: Path) -> str:
        """Text of a file; MissingFileError if this state does not have it."""
        text = self.read(path)
        if text is None:
            raise MissingFileError(f"{self.label}: has no {path}; only finished runs can be compared")
        return text

    @cached_property
    def params(self) -> dict[str, Any]:
        return parse_yaml(self.need(PARAMS), f"{self.label}: {PARAMS}")

    @cached_property
    def paths(self) -> Paths:
        return Paths(self.params["profile"])

    @cached_property
    def grid(self) -> list[tuple[str, str, str]]:
        """(stage, model, setting) of the cells of this state."""
        return [self.cell] if self.cell else list(grid_cells(self.params["run"]))

    @cached_property
    def lock(self) -> dict[str, Entry]:
        return parse_lock(self.need(LOCK))

    def read_json(self, path: Path) -> Any:
        text = self.read(path)
        return None if text is None else parse_json(text)


class Workspace(State):
    """The files as they lie in the current directory."""

    def _read(self, path: Path) -> str | None:
        return path.read_text(encoding="utf-8") if path.is_file() else None


class Revision(State):
    """A commit; files that DVC keeps come from its cache or its remote."""

    remedy = "`dvc fetch --all-commits` brings them where there is a remote; else check it out and run `dvc repro`"

    def __init__(self, label: str, commit: str) -> None:
        super().__init__(label)
        self.commit = commit

    @cached_property
    def _files(self):
        from dvc.api import DVCFileSystem

        return DVCFileSystem(".", rev=self.commit)

    def _read(self, path: Path) -> str | None:
        from dvc_data.index import DataIndexDirError

        try:
            return self._files.read_text(path.as_posix(), encoding="utf-8")
        except (OSError, DataIndexDirError):  # not in the commit, or in no cache within reach
            return None


class TrackedRun(State):
    """A run of MLflow: a pipeline, or one of its cells."""

    remedy = "they were not published; `make track` publishes what a finished run lacks"

    def __init__(self, label: str, client, run) -> None:
        super().__init__(label)
        self._client, self._run = client, run
        self.commit = run.data.tags.get("mlflow.source.git.commit")
        parent = run.data.tags.get("mlflow.parentRunId")
        self._pipeline = client.get_run(parent) if parent else run
        if parent:
            stage, tags = run.data.tags["dvc.stage"].partition("@")[0], run.data.tags
            self.cell = (stage, tags["model"], tags.get("setting", ""))

    def _read(self, path: Path) -> str | None:
        if path.parts[0] == "runs":
            for cell in grid_cells(self.params["run"]):
                folder = cell_folder(self.paths, *cell)
                if path.is_relative_to(folder):
                    return self._artifact(self._cell_run(cell_name(*cell)), path.relative_to(folder).as_posix())
        return self._artifact(self._pipeline, path.name)

    def _cell_run(self, name: str):
        if name not in self.lock:
            return None
        found = self._client.search_runs([self._run.info.experiment_id], f"tags.`cell.key` = '{self.lock[name].key}'")
        return found[0] if found else None

    def _artifact(self, run, name: str) -> str | None:
        from mlflow.exceptions import MlflowException

        if run is None:
            return None
        try:
            return Path(self._client.download_artifacts(run.info.run_id, name)).read_text(encoding="utf-8")
        except (MlflowException, OSError):  # the store has the run without this artifact
            return None

    @cached_property
    def paths(self) -> Paths:
        return Paths(self._run.data.tags["profile"])


def find_state(name: str) -> State:
    """The state of that name: ``workspace``, a git revision or DVC experiment, or an MLflow run's id, name or stage.

    Of several MLflow runs of one name, the newest pipeline is taken.

    Raises:
        InputError: there is no such state; the message suggests the nearest name.
    """
    if name == WORKSPACE:
        return Workspace(name)
    commit = _revision(name)
    if commit:
        return Revision(name, commit)
    with store_faults():
        found = _tracked(name)
    if found is None:
        raise InputError(_unknown(name))
    return found


def _revision(name: str) -> str | None:
    """The commit of a git revision or a DVC experiment."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.scm import NoSCM, SCMError, resolve_rev

    try:
        with Repo(".") as repo:
            return None if isinstance(repo.scm, NoSCM) else resolve_rev(repo.scm, name)
    except (DvcException, SCMError):
        return None


def _tracked(name: str) -> TrackedRun | None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    if tracking_uri().startswith("sqlite:") and not Path(tracking_uri().removeprefix("sqlite:///")).exists():
        return None
    client = MlflowClient(tracking_uri())
    try:
        return TrackedRun(name, client, client.get_run(name))
    except MlflowException:
        pass
    experiments = [item.experiment_id for item in client.search_experiments()]
    quoted = name.replace("'", "")
    runs = [
        run
        for field in ("attributes.run_name", "tags.`dvc.stage`")
        for run in client.search_runs(
            experiments, f"{field} = '{quoted}' and tags.`cell.key` LIKE '%'", order_by=["attributes.end_time DESC"]
        )
    ]
    runs.sort(key=lambda run: run.data.tags["dvc.stage"] != PIPELINE)
    return TrackedRun(name, client, runs[0]) if runs else None


def _unknown(name: str) -> str:
    branches = subprocess.run(["git", "for-each-ref", "--format=%(refname)"], capture_output=True, text=True)
    known = {reference.rpartition("/")[2] for reference in branches.stdout.split()}
    hint = did_you_mean(name, [*known, WORKSPACE]) or "`dvc exp show` and `make ui` list the names"
    return f"{name!r} is not a git revision, a DVC experiment, an MLflow run or `{WORKSPACE}`; {hint}"
