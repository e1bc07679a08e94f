"""The clone of the project that a command of the pipeline works on: the current folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import autocontrastive_gen
from autocontrastive_gen.foundation.errors import InputError


def is_clone(folder: Path) -> bool:
    """Whether the folder is the root of a clone."""
    return (folder / "dvc.yaml").is_file() and (folder / "stages/__init__.py").is_file()


def enter(command: str) -> None:
    """Make the ``stages`` of the current folder importable, and see to it that the code is this clone's.

    If another copy of the package is running, such as one that pip installed, this process starts anew with the code
    of the clone: it is what ``dvc.yaml`` watches.

    Raises:
        InputError: the current folder is not the root of a clone.
    """
    here = Path.cwd()
    if not is_clone(here):
        root = next((folder for folder in here.parents if is_clone(folder)), None)
        remedy = f"its root is {root}; change to that folder" if root else "see README.md of autocontrastive-suite"
        raise InputError(f"acd {command} works in the root of a clone of the project, and {here} is none: {remedy}")
    source = here / "src"
    if not Path(autocontrastive_gen.__path__[0]).parent.samefile(source):
        path = os.pathsep.join(filter(None, [str(source), str(here), os.environ.get("PYTHONPATH")]))
        command_line = [sys.executable, "-m", "autocontrastive_gen.cli.application", *sys.argv[1:]]
        os.execve(sys.executable, command_line, {**os.environ, "PYTHONPATH": path})
    if str(here) not in sys.path:
        sys.path.insert(0, str(here))
