"""Seeds, digests, files that are whole or absent, and what a cell cost."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import platform
import resource
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def seed_for(*parts: object) -> int:
    """A seed in [0, 2**63) that depends on nothing but ``parts`` (say the run's seed, a prompt's id and a step)."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def fingerprint(value: Any) -> str:
    """sha256 of a JSON-like value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def file_sha256(path: Path | str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """A temporary name beside ``path``, renamed to it when the block succeeds and removed when it fails.

    Always the same name: what a killed process left is written over, and no file has two writers at a time.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def rounded(value: Any, digits: int = 6) -> Any:
    """The same JSON-like value with floats to ``digits`` significant digits: bytes do not hang on the last bit."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, dict):
        return {key: rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item, digits) for item in value]
    return value


def write_json(path: Path | str, value: Any, digits: int = 6) -> None:
    """Sorted keys, rounded floats, one final newline. Non-finite numbers are refused: they are not JSON."""
    text = json.dumps(rounded(value, digits), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def read_json(path: Path | str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_jsonl(path: Path | str, rows: Iterable[dict]) -> None:
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n")


def read_jsonl(path: Path | str) -> list[dict]:
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def write_csv(path: Path | str, columns: list[str], rows: Iterable[dict], digits: int = 6) -> None:
    """Rows as csv, in the order given; missing and None values are empty."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n", extrasaction="raise")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: "" if value is None else rounded(value, digits) for key, value in row.items()})


@contextmanager
def cost_meter(path: Path) -> Iterator[dict]:
    """Measure the block and write its cost; the block may add entries (say ``tokens``) to the dict it gets."""
    start, cpu = time.perf_counter(), _cpu_seconds()
    extra: dict[str, Any] = {}
    yield extra
    if int(os.environ.get("RANK", "0")):  # of several processes the first one tells
        return
    write_json(path, {"wall_s": time.perf_counter() - start, "cpu_s": _cpu_seconds() - cpu, **_machine(), **extra})


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_seconds() -> float:
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def _machine() -> dict[str, Any]:
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    unit = 1 if platform.system() == "Darwin" else 1024
    machine = {"peak_rss_bytes": peak * unit, "cores": os.cpu_count(), "device": "cpu"}
    import sys

    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        machine |= {"device": torch.cuda.get_device_name(), "peak_gpu_bytes": torch.cuda.max_memory_allocated()}
    return machine
