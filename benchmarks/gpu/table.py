"""The table of the GPU benchmark: one row per thing measured, as Markdown to read and as JSON to compare."""

from __future__ import annotations

import os
import platform
import subprocess
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

import torch

from autocontrastive_gen.foundation.environment import processor
from autocontrastive_gen.foundation.files import write_json, write_text
from autocontrastive_gen.foundation.timing import Relative

HEADER = ("part", "case", "batch", "mode", "ms", "relative [IQR]", "target", "tokens/s", "rate", "share of the peak",
          "peak MB", "note")  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One thing measured; what does not apply is None."""

    part: str
    case: str
    batch: int | None = None
    mode: str = ""
    ms: float | None = None
    """Milliseconds of a decoding step, a training step or a round."""
    relative: Relative | None = None
    """Relative to the first case of the same part, batch and mode."""
    target: float | None = None
    """What ``relative`` should be at most."""
    tokens_per_second: float | None = None
    rate: str = ""
    """Bytes or operations per second."""
    share: float | None = None
    """The rate's share of what a copy or a matrix product attains on the same machine."""
    peak_megabytes: float | None = None
    note: str = ""
    failed: bool = False

    def without_time(self) -> Row:
        """The same row, not measured."""
        return replace(self, note="left out: no time was left")

    def cells(self) -> list[str]:
        """The row as texts."""
        cost = self.relative
        shown = "" if cost is None else f"{cost.median:.3f} [{cost.low:.3f}, {cost.high:.3f}]"
        return [
            self.part, self.case, _text(self.batch, "d"), self.mode, _text(self.ms, ".3f"), shown,
            "" if self.target is None else f"<= {self.target:g}", _text(self.tokens_per_second, ".0f"), self.rate,
            _text(self.share, ".3f"), _text(self.peak_megabytes, ".0f"), self.note.replace("|", "\\|"),
        ]  # fmt: skip


def failure(row: Row, error: Exception) -> Row:
    """The row of what could not be measured; the traceback goes to stderr."""
    traceback.print_exception(error)
    words = " ".join(str(error).split())
    return replace(row, note=f"failed: {type(error).__name__}: {words[:120]}", failed=True)


def _text(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def line(cells: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def machine(device: str, root: Path) -> dict[str, str | int]:
    """Device, versions and commit; no names of hosts, and no paths."""
    cuda = device.startswith("cuda")
    return {
        "device": torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} thread(s)",
        "devices": torch.cuda.device_count() if cuda else 1,
        "processor": processor(),
        "cores": os.cpu_count() or 1,
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers", "accelerate", "lm_eval")},
        "CUDA": (cuda and torch.version.cuda) or "none",
        "commit": commit(root),
    }


def commit(root: Path) -> str:
    """The commit of the working tree, with a remark if files have changed since; "unknown" in a copy without git."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "src", "benchmarks")
        return git("rev-parse", "--short=12", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def write(folder: Path, facts: dict[str, str | int], rows: Sequence[Row]) -> None:
    """Write ``table.md`` and ``table.json`` into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "table.json", {"machine": facts, "rows": [asdict(row) for row in rows]})
    head = [f"{name}: {value}" for name, value in facts.items()]
    numbers = [name not in ("part", "case", "mode", "note") for name in HEADER]
    table = [line(HEADER), "|" + "".join("--:|" if number else "---|" for number in numbers)]
    write_text(
        folder / "table.md",
        "\n".join(
            ["# Speed on one GPU", "", "Made by `make bench-gpu`.", "", "; ".join(head) + ".", "", *table]
            + [line(row.cells()) for row in rows]
            + [""]
        ),
    )
