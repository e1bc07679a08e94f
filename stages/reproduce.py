"""Run the pipeline with params.yaml, or with a profile, and sum up the results. This is not a stage of the pipeline.

What is up to date does not run again. After an interruption, the same command continues. Without a GPU, cells that do
not depend on each other run side by side, each on its share of the cores, and write what they would write one by one.

Examples:

    acd reproduce
    acd reproduce --profile smoke
    acd reproduce --jobs 1
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer

from autocontrastive_gen.experiment.cell_command import current_profile
from autocontrastive_gen.experiment.lock import LOCK, read_lock
from autocontrastive_gen.experiment.outdated import Cell, dvc_name, outdated
from autocontrastive_gen.experiment.params import load_params, profiles
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.experiment.plan_file import read_plan
from autocontrastive_gen.experiment.run_progress import roughly
from autocontrastive_gen.foundation.command_line import command
from autocontrastive_gen.foundation.console import VERBOSE
from autocontrastive_gen.foundation.environment import cores
from stages import profile as parameters
from stages import results

log = logging.getLogger(__name__)

ASIDES = (
    *("Use `dvc push`", "Updating lock file", "> ", "\n"),
    *("To track the changes with git", "\tgit add", "To enable auto staging", "\tdvc config core.autostage"),
)
UNCHANGED = "didn't change, skipping\n"
"""How the lines of DVC begin and end that are left out: the hint at a remote comes where there is none, too
(docs/sharing.md), and the others stand between one cell's result and the next. With ``AUTOCONTRASTIVE_VERBOSE=1`` they
are shown."""
SIDE_BY_SIDE = ("generate", "benchmark", "analyse")
"""Stages of which no cell reads what another one wrote, in the order in which they begin."""
LOCKED = "Unable to acquire lock"
"""What DVC says when another of its processes keeps the project locked for more than three seconds."""
BUSY = 256
"""In place of an exit code of DVC that came of this."""


def main(
    profile: Annotated[
        str | None, typer.Option(help="put this profile into params.yaml first", autocompletion=profiles)
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="cells side by side; by default as cores and memory allow, 1 with a GPU or launcher"),
    ] = None,
) -> None:
    if profile:
        parameters.use(profile)
    else:
        parameters.check()
    if code := reproduce(jobs):
        raise SystemExit(code)
    results.main()


def reproduce(jobs: int | None) -> int:
    """Exit code of ``dvc repro``, before which cells that can run side by side do so, ``jobs`` at a time."""
    if jobs != 1:
        if not dvc("status", "--quiet"):
            return 0
        if code := dvc("repro", "select"):
            return code
        cells = independent_cells()
        jobs = min(len(cells), jobs or allowed())
        if jobs > 1 and (code := beside(cells, jobs)):
            return code
    return dvc("repro")


def independent_cells() -> list[Cell]:
    """The cells that are to run and don't depend on each other.

    One benchmark of each model comes first: it leaves the states of the trunk, which the others read.
    """
    profile = current_profile()
    found = outdated(read_plan(profile), Paths(profile), read_lock() if LOCK.exists() else {})
    by_stage = {stage: [cell for cell in found if cell[0] == stage] for stage in SIDE_BY_SIDE}
    first = list({cell[1]: cell for cell in reversed(by_stage["benchmark"])}.values())
    rest = [cell for stage in SIDE_BY_SIDE for cell in by_stage[stage] if cell not in first]
    return first + rest


def allowed() -> int:
    """How many cells may run side by side: one with a GPU or a launcher, else as many as cores and memory allow."""
    import psutil
    import torch

    from autocontrastive_gen.experiment.estimate import estimate

    params = load_params()
    if params.launcher or torch.cuda.is_available():
        return 1
    largest = max(cost.memory for cost in estimate(params) if cost.stage in SIDE_BY_SIDE)
    # the estimate counts no libraries, and may be wrong by half
    return max(1, min(cores(), int(psutil.virtual_memory().available / (2 * largest))))


def beside(cells: list[Cell], jobs: int) -> int:
    """Run cells, ``jobs`` at a time; exit code of the first that failed, after which no other begins."""
    import torch

    left, codes, began, devices = deque(cells), list[int](), time.monotonic(), torch.cuda.device_count()
    share = {"OMP_NUM_THREADS": str(max(1, cores() // jobs)), **os.environ}
    running: set[subprocess.Popen] = set()

    def work(slot: int) -> None:
        environment = {**share, "CUDA_VISIBLE_DEVICES": str(slot % devices)} if devices > 1 else share
        while left and not any(codes):
            cell = dvc_name(left.popleft())
            while (code := dvc("repro", "--single-item", cell, environment=environment, running=running)) == BUSY:
                pass
            codes.append(code)
            if left and not code:
                seconds = (time.monotonic() - began) / len(codes) * (len(left) + jobs / 2)
                log.info("%d of %d cells, about %s left", len(codes), len(cells), roughly(seconds))

    with ThreadPoolExecutor(jobs) as pool:
        try:
            list(pool.map(work, range(jobs)))
        except SystemExit:  # SIGTERM comes to this process alone, Ctrl-C to all of them
            left.clear()
            for process in running:
                process.terminate()
            raise
    return next(filter(None, codes), 0)


def dvc(
    *arguments: str, environment: Mapping[str, str] = os.environ, running: set[subprocess.Popen] | None = None
) -> int:
    """Exit code of a command of DVC, whose stages run with this interpreter.

    Args:
        running: the processes beside which it runs, to which it adds itself: no progress bar is drawn then, and
            ``BUSY`` is returned if one of the others kept the project locked.
    """
    verbose = os.environ.get(VERBOSE, "") not in ("", "0")
    path = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])
    busy = False
    with subprocess.Popen(
        [sys.executable, "-m", "dvc", *arguments],
        # unbuffered: into a pipe, Python would hold lines back until a block of them is full
        env={**environment, "PATH": path, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=None if running is None else subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout
        if running is not None:
            running.add(process)
        try:
            while True:
                try:
                    for line in process.stdout:
                        busy |= running is not None and LOCKED in line
                        if verbose or not (busy or line.startswith(ASIDES) or line.endswith(UNCHANGED)):
                            print(line, end="", flush=True)
                    code = process.wait()
                    return BUSY if busy and code else code
                except KeyboardInterrupt:
                    continue  # DVC and the stage get Ctrl-C, too, and need a moment to keep what is finished
        finally:
            if process.poll() is None:
                process.terminate()


app = command(main, "reproduce", __doc__)

if __name__ == "__main__":
    app(prog_name="python -m stages.reproduce")
