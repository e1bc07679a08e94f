"""A copy of the project in an empty folder, with the smoke profile in use: what a user gets by cloning."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline.warm import Warm


class Clone:
    """A project folder with commands to run in it; those of ``Warm`` in the folder ``warm``, if it is given."""

    def __init__(self, folder: Path, warm: Path | None = None):
        self.folder = folder
        self.log = ""
        """What the last ``dvc repro`` said."""
        self.environment = {
            **{key: value for key, value in os.environ.items() if key not in ("MLFLOW_TRACKING_URI", "DVC_ROOT")},
            "PATH": ":".join([*([str(warm)] if warm else []), str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": f"{folder / 'src'}:{folder}",
            "OMP_NUM_THREADS": "1",
            "DVC_NO_ANALYTICS": "1",
        }

    def start(self, *command: str, **options) -> subprocess.Popen:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stdout=pipe, stderr=subprocess.STDOUT, text=True, **options
        )

    def run(self, *command: str, code: int | None = 0) -> str:
        """Output of a command; its exit code must be ``code`` (None for any)."""
        process = self.start(*command)
        output, _ = process.communicate(timeout=600)
        assert code is None or process.returncode == code, f"{' '.join(command)} -> {process.returncode}\n{output}"
        return output

    def repro(self, *arguments: str, code: int | None = 0) -> list[str]:
        """Stages that ran, in order."""
        self.log = self.run("dvc", "repro", *arguments, code=code)
        return stages_of(self.log)

    def changed(self) -> set[str]:
        """Stages that ``dvc status`` names."""
        lines = self.run("dvc", "status").splitlines()
        return {line.rstrip(":") for line in lines if line and not line[0].isspace()}

    def edit(self, old: str, new: str, file: str = "params.yaml") -> None:
        path = self.folder / file
        text = path.read_text()
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file}"
        path.write_text(text.replace(old, new))

    def results(self) -> dict[str, bytes]:
        """The files that must be the same bytes on every run."""
        report = self.folder / "reports/smoke"
        files = [report / "metrics.json", *report.glob("tables/*"), *report.glob("figures/*")]
        return {str(file.relative_to(report)): file.read_bytes() for file in files}


def stages_of(output: str) -> list[str]:
    return re.findall(r"^Running stage '([^']+)'", output, re.MULTILINE)


def copy_project(root: Path, folder: Path, warm: Path | None = None) -> Clone:
    """Copy what git would commit, as a new repository, without the results of committed runs.

    DVC reads and writes the whole of dvc.lock after every stage, which takes as long as a tiny stage itself.
    """
    listing = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=root, capture_output=True, text=True, check=True
    )
    for name in listing.stdout.splitlines():
        if name != "dvc.lock" and (root / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, folder / name)
    clone = Clone(folder, warm)
    clone.run("git", "init", "--quiet", "--initial-branch=main")
    clone.run("git", "config", "user.name", "A user")
    clone.run("git", "config", "user.email", "user@example.org")
    clone.run("python", "-m", "stages.profile", "use", "smoke")
    clone.run("git", "add", "--all")
    clone.run("git", "commit", "--quiet", "--message", "A copy")
    return clone


@pytest.fixture(scope="session")
def warm(tmp_path_factory) -> Iterator[Path]:
    """A folder of commands that start quickly."""
    folder = tmp_path_factory.mktemp("warm")
    with Warm(folder, Clone(folder).environment):
        yield folder


@pytest.fixture(scope="session")
def finished(request, root, tmp_path_factory) -> tuple[Clone, list[str]]:
    """The smoke profile run from scratch, once for the session, and the stages that ran. Tests must not change it.

    A user's own commands make it for the fast tests, some of which read what they say.
    """
    slow = all(item.get_closest_marker("slow") for item in request.session.items)
    warm = request.getfixturevalue("warm") if slow else None
    clone = copy_project(root, tmp_path_factory.mktemp("finished"), warm)
    return clone, clone.repro()


@pytest.fixture
def clone(finished, warm, tmp_path) -> Clone:
    """A finished smoke run of one's own, to edit and run again."""
    folder = tmp_path / "clone"
    shutil.copytree(finished[0].folder, folder, symlinks=True)
    return Clone(folder, warm)


@pytest.fixture
def fresh(root, warm, tmp_path) -> Clone:
    """The project before its first run."""
    folder = tmp_path / "fresh"
    folder.mkdir()
    return copy_project(root, folder, warm)
