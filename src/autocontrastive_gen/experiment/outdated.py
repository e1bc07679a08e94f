"""Which cells of a run are out of date, from the plan and ``dvc.lock``: as ``dvc status`` would say, in milliseconds.

This is for telling how much a run has to do, and nothing depends on it. What a cell reads from other cells is not
compared: a cell counts as out of date if one that it reads from is, although that one may write what it wrote before.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autocontrastive_gen.experiment.lock import Entry
from autocontrastive_gen.experiment.paths import STAGES, Paths

BEFORE = {
    "fetch": (),
    "prepare": (),  # fetch keeps what is there: new assets are new in the plan of prepare too
    "train": ("prepare",),
    "select": ("train",),
    "generate": ("prepare", "select"),
    "score": ("train", "generate"),
    "benchmark": ("prepare", "select"),
    "analyse": ("prepare", "train"),
    "report": ("score", "benchmark", "analyse"),
    "track": ("report",),
}
"""The stages that each stage reads from."""
Cell = tuple[str, ...]
"""Stage, model and setting, as far as there are any."""


def cells_of(plan: dict[str, Any]) -> list[Cell]:
    """All cells of a plan, stage by stage."""
    return [cell for stage in STAGES for cell in _cells(stage, plan)]


def _cells(stage: str, plan: dict[str, Any]) -> Iterator[Cell]:
    if stage in ("train", "select", "score", "analyse"):
        yield from ((stage, model) for model in plan[stage])
    elif stage in ("generate", "benchmark"):
        yield from ((stage, model, setting) for model, settings in plan[stage].items() for setting in settings)
    else:
        yield (stage,)


def dvc_name(cell: Cell) -> str:
    """The name that DVC gives to a cell: ``generate@smollm2-greedy``."""
    stage, *rest = cell
    return f"{stage}@{'-'.join(rest)}" if rest else stage


def ancestors(stage: str) -> set[str]:
    """The stages that a stage depends on, directly or not."""
    return {earlier for before in BEFORE[stage] for earlier in (before, *ancestors(before))}


def reads(cell: Cell, other: Cell) -> bool:
    """Whether a cell depends on another one, directly or not."""
    same_model = len(cell) == 1 or len(other) == 1 or cell[1] == other[1]
    same_setting = cell[0] in ("score", "report", "track") or len(other) < 3
    return other[0] in ancestors(cell[0]) and same_model and same_setting


def outdated(plan: dict[str, Any], paths: Paths, lock: dict[str, Entry]) -> list[Cell]:
    """The cells that `dvc repro` has to run, except for ``fetch``; those whose inputs turn out to be the same as before
    are among them."""
    found: list[Cell] = []
    for cell in cells_of(plan)[1:]:
        entry = lock.get(dvc_name(cell))
        if entry is None or _changed(cell, entry, plan, paths) or any(reads(cell, other) for other in found):
            found.append(cell)
    return found


def _changed(cell: Cell, entry: Entry, plan: dict[str, Any], paths: Paths) -> bool:
    """Whether a cell's parameters or code have changed, or an output is absent."""
    wanted = functools.reduce(lambda part, key: part[key], cell, plan)
    if entry.params.get(paths.plan.as_posix(), {}).get(".".join(cell)) != wanted:
        return True
    return not all(Path(path).exists() for path in entry.outs) or _has_moved(entry)


def moved(lock: dict[str, Entry]) -> list[str]:
    """The stages of a finished run whose code is no longer what it was made with."""
    found = {entry.stage for entry in lock.values() if _has_moved(entry)}
    return [stage for stage in STAGES if stage in found]


def _has_moved(entry: Entry) -> bool:
    code = {path: digest for path, digest in entry.deps.items() if not path.startswith(("runs/", "reports/"))}
    return any(md5(Path(path)) != digest for path, digest in code.items())


@functools.cache
def md5(path: Path) -> str:
    """DVC's digest of a file or, with the ending ``.dir``, of the files of a folder; empty if there is none."""
    if path.is_file():
        return hashlib.md5(path.read_bytes()).hexdigest()
    if not path.is_dir():
        return ""
    files = sorted(
        (file.relative_to(path).as_posix(), md5(file))
        for file in path.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    )
    listing = [{"md5": digest, "relpath": name} for name, digest in files]
    return hashlib.md5(json.dumps(listing, sort_keys=True).encode()).hexdigest() + ".dir"
