"""What ``dvc.lock`` records for each cell: its command, what it read and what it wrote.

DVC rewrites the file after every stage, so a later stage of the same ``dvc repro`` finds the earlier ones in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from autocontrastive_gen.foundation.digests import fingerprint
from autocontrastive_gen.foundation.errors import MissingFileError, mendable
from autocontrastive_gen.foundation.files import parse_yaml, read_text

LOCK = Path("dvc.lock")


@dataclass(frozen=True)
class Entry:
    """One stage of the lock; ``deps`` and ``outs`` map paths to md5 (``...dir`` for a folder)."""

    name: str
    cmd: str
    deps: dict[str, str]
    params: dict[str, Any]
    outs: dict[str, str]

    @cached_property
    def key(self) -> str:
        """Identity of a cell's results: sha256 of its command, dependencies and parameters."""
        return fingerprint({"cmd": self.cmd, "deps": self.deps, "params": self.params})

    @property
    def values(self) -> dict[str, Any]:
        """Parameters of a cell: its entry of the plan."""
        entries = (entry for file in self.params.values() for entry in file.values())
        return {name: value for entry in entries for name, value in entry.items()}

    @property
    def stage(self) -> str:
        """Name of the stage, without the cell."""
        return self.name.partition("@")[0]


def parse_lock(text: str) -> dict[str, Entry]:
    """Entries by name (``train@smollm2``) in the text of a lock file.

    Raises:
        InputError: it is not a lock file.
    """
    remedy = "take back its last good state (git checkout dvc.lock), or remove it and run `dvc repro`"
    content = parse_yaml(text, str(LOCK), fast=True, remedy=remedy) or {}
    with mendable(f"{LOCK}: is not a lock file of DVC; {remedy}", (AttributeError, KeyError, TypeError)):
        return {name: _entry(name, stage) for name, stage in content.get("stages", {}).items()}


def read_lock(path: Path = LOCK) -> dict[str, Entry]:
    """Entries of a lock file.

    Raises:
        MissingFileError: it does not exist.
    """
    if not path.exists():
        raise MissingFileError(f"{path}: not found; run `dvc repro` in the project's root first")
    return parse_lock(read_text(path))


def _entry(name: str, stage: dict) -> Entry:
    digests = [
        {item["path"]: item.get("md5") or item.get("etag") or item.get("checksum", "") for item in stage.get(kind, ())}
        for kind in ("deps", "outs")
    ]
    return Entry(name, str(stage.get("cmd", "")), digests[0], stage.get("params", {}), digests[1])
