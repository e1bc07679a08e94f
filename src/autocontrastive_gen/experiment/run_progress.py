"""How far a run of the whole pipeline is: what it has to do, what it has done, and how long the rest takes.

DVC starts every cell as a process of its own. They share ``.scratch/progress/<run>.json``, where a run is one process
of DVC: its first cell writes the plan, and each cell adds itself. All of this is for the reader of the log: a run whose
progress cannot be told goes on without it.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from autocontrastive_gen.experiment.lock import LOCK, read_lock
from autocontrastive_gen.experiment.outdated import Cell, dvc_name, outdated, reads
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.experiment.plan_file import read_plan
from autocontrastive_gen.foundation.files import SCRATCH, read_json, write_json

FOLDER = SCRATCH / "progress"
BETWEEN_S = 4.0
"""Between the work of two cells: a process starts, DVC computes digests."""
USUAL_S = 5.0
"""A cell of which nothing is known."""
TRUST_S = 30.0
"""As long a stretch of work as expected stands for how far expectations are trusted before the run confirms them."""


@dataclass
class RunProgress:
    """The cells that one run has to do, in order, with the seconds that each is expected to take."""

    path: Path
    expected: dict[str, float]
    """By DVC's name of the cell."""
    order: list[Cell]
    done: list[Cell] = field(default_factory=list)
    busy_s: float = 0.0
    """Time between the beginning of the first cell and the end of the last one that is done."""
    began: float = field(default_factory=time.time)

    @classmethod
    def of(cls, profile: str, cell: Cell, run: str) -> tuple[RunProgress, bool]:
        """The progress of ``run``, and whether this is its first cell."""
        path = FOLDER / f"{run}.json"
        if path.exists():
            known = read_json(path)
            order, done = ([tuple(each) for each in known.pop(key)] for key in ("order", "done"))
            found, first = cls(path, order=order, done=done, **known), False
        else:
            plan, paths = read_plan(profile), Paths(profile)
            order = outdated(plan, paths, read_lock() if LOCK.exists() else {})
            found, first = cls(path, expected_seconds(order, paths), order), True
        if cell not in found.order:
            found.order.insert(len(found.done), cell)
            found.expected |= expected_seconds([cell], Paths(profile))
        return found, first

    def finish(self, cell: Cell) -> None:
        """Note that a cell has run."""
        self.done.append(cell)
        self.busy_s = time.time() - self.began
        FOLDER.mkdir(parents=True, exist_ok=True)
        content = {key: value for key, value in vars(self).items() if key != "path"}
        write_json(self.path, content, digits=15)
        for other in FOLDER.glob("*.json"):
            if not _alive(other.stem):
                other.unlink(missing_ok=True)

    @property
    def plan(self) -> str:
        """What the run has to do, as in "12 cells, about 6 minutes: fetch, prepare, train, 9 × generate"."""
        counts = Counter(cell[0] for cell in self.order)
        stages = ", ".join(stage if count == 1 else f"{count} × {stage}" for stage, count in counts.items())
        return f"{len(self.order)} cells, about {roughly(self.seconds_left)}: {stages}"

    @property
    def settled(self) -> list[Cell]:
        """Cells that are done, or that DVC found up to date: another one that reads from them is done."""
        return [cell for cell in self.order if cell in self.done or any(reads(later, cell) for later in self.done)]

    @property
    def seconds_left(self) -> float:
        """Expected seconds of the cells that are left, corrected by how long the others took."""
        settled = self.settled
        rest = sum(self.expected[dvc_name(cell)] for cell in self.order if cell not in settled)
        past = sum(self.expected[dvc_name(cell)] for cell in self.done)
        return rest * (self.busy_s + TRUST_S) / (past + TRUST_S)

    @property
    def position(self) -> str:
        """As in "7 of 17, about 6 minutes left"."""
        done, total = len(self.settled), len(self.order)
        return f"{done} of {total}" + ("" if done == total else f", about {roughly(self.seconds_left)} left")


def expected_seconds(cells: list[Cell], paths: Paths) -> dict[str, float]:
    """Seconds by cell: as measured the last time, here or in the committed report, else as estimated."""
    committed = read_json(paths.reports / "cost.json")["cells"] if (paths.reports / "cost.json").exists() else {}
    measured = {}
    for cell in cells:
        stage, *rest = cell
        file = paths.cost(stage, "-".join(rest))
        cost = read_json(file) if file.exists() else committed.get(file.stem)
        if cost:
            measured[cell] = cost["wall_s"]
    open_ = [cell for cell in cells if cell not in measured and cell[0] not in ("report", "track")]
    estimates = _estimates() if open_ else {}
    usual = {cell: estimates.get(cell, USUAL_S) for cell in cells}
    return {dvc_name(cell): BETWEEN_S + measured.get(cell, usual[cell]) for cell in cells}


def _estimates() -> dict[Cell, float]:
    """Seconds by cell as ``stages.profile estimate`` computes them for this machine."""
    from autocontrastive_gen.experiment.estimate import START_S, estimate
    from autocontrastive_gen.experiment.params import load_params
    from autocontrastive_gen.experiment.rates import measured_rates

    rates, params = measured_rates(), load_params()
    found = {}
    for cost in estimate(params):
        model = next((name for name in params.run.models if cost.cell.startswith(f"{name}-")), "")
        rest = (model, cost.cell.removeprefix(f"{model}-")) if model else (cost.cell,) if cost.cell else ()
        found[(cost.stage, *rest)] = cost.seconds(rates) - START_S + USUAL_S
    return found


def roughly(seconds: float) -> str:
    """A duration in one number: ``40 seconds``, ``6 minutes``, ``2.5 hours``."""
    if seconds < 55:
        return f"{max(5, round(seconds / 5) * 5)} seconds"
    if seconds < 90 * 60:
        minutes = max(1, round(seconds / 60))
        return f"{minutes} minute{'s' if minutes > 1 else ''}"
    return f"{seconds / 3600:.1f} hours"


def current_run() -> str | None:
    """Identity of the process of DVC that runs this cell, as "<pid>-<start>"; None for a cell run on its own."""
    import psutil

    if "DVC_STAGE" not in os.environ:
        return None
    for process in psutil.Process().parents():
        command = process.cmdline()
        if any(Path(part).stem == "dvc" for part in command[:3]):
            return None if {"-s", "--single-item"} & set(command) else f"{process.pid}-{process.create_time():.0f}"
    return None


def _alive(run: str) -> bool:
    import psutil

    pid, _, start = run.partition("-")
    try:
        return f"{psutil.Process(int(pid)).create_time():.0f}" == start
    except (ValueError, psutil.Error):
        return False
