"""Where a number comes from: file, stage, digest in dvc.lock, and the last commit that touched the stage's inputs."""

from __future__ import annotations

import subprocess
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import PurePosixPath
from textwrap import shorten

from autocontrastive_gen.experiment.lock import LOCK, Entry, read_lock


@dataclass(frozen=True)
class Origin:
    file: str
    cell: str
    md5: str
    """Of the output that holds the file, as in dvc.lock; "" if the cell is not there."""
    commit: str
    """``<short hash> <date> <subject>`` of the last commit to the code behind it; "" outside git."""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


class Origins:
    """Origins of numbers, each once; the page refers to them by ``index``."""

    def __init__(self) -> None:
        self.lock: dict[str, Entry] = read_lock() if LOCK.exists() else {}
        self.known: dict[tuple[str, str], int] = {}
        self.all: list[Origin] = []
        self.makers: dict[str, set[str]] = {}

    def index(self, file: str, cell: str) -> int:
        if (file, cell) not in self.known:
            self.known[file, cell] = len(self.all)
            self.all.append(self._find(file, cell))
        return self.known[file, cell]

    def _find(self, file: str, cell: str) -> Origin:
        entry = self.lock.get(cell)
        if entry is None:
            return Origin(file, cell, "", "")
        parents = {file, *(str(parent) for parent in PurePosixPath(file).parents)}
        md5 = next((digest for path, digest in entry.outs.items() if path.rstrip("/") in parents), "")
        code = tuple(sorted(self._code(cell)))
        return Origin(file, cell, md5, last_commit(code) if code else "")

    def _code(self, cell: str) -> set[str]:
        """Files in git that a cell depends on, directly or through the cells whose outputs it reads."""
        found, seen, todo = set(), {cell}, [cell]
        while todo:
            for path in self.lock[todo.pop()].deps:
                makers = self._makers(path)
                found |= set() if makers else {path}
                todo += makers - seen
                seen |= makers
        return found

    def _makers(self, path: str) -> set[str]:
        """The cells that write a path, or something in it."""
        if path not in self.makers:
            self.makers[path] = {
                name for name, entry in self.lock.items() if any(_overlap(path, out) for out in entry.outs)
            }
        return self.makers[path]


def _overlap(a: str, b: str) -> bool:
    """Whether one path is the other or lies in it."""
    a, b = f"{a.rstrip('/')}/", f"{b.rstrip('/')}/"
    return a.startswith(b) or b.startswith(a)


@cache
def last_commit(paths: tuple[str, ...] = ()) -> str:
    """Short hash, date and subject of the last commit that touched one of the paths, or of the last one at all."""
    command = ["git", "log", "-1", "--format=%h %cs %s", *(("--", *paths) if paths else ())]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return shorten(done.stdout, 72, placeholder=" …")
