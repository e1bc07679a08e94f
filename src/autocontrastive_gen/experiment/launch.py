"""Stages in several processes: a stage starts itself again under the launcher that params.yaml names."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from autocontrastive_gen.experiment.params import load_params

LAUNCHED = "AUTOCONTRASTIVE_LAUNCHED"
"""Variable that a launched process finds set: accelerate sets no rank where it starts a single one."""
_SET_BY_LAUNCHERS = ("RANK", "WORLD_SIZE", LAUNCHED)


def threads(default: int) -> int:
    """OMP_NUM_THREADS, its first number if it has one for each level of nesting ("4,2"); ``default`` if it is not set.

    ValueError if it is no number.
    """
    given = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if not given:
        return default
    if not given.isdecimal() or int(given) == 0:
        value = os.environ["OMP_NUM_THREADS"]
        raise ValueError(f"OMP_NUM_THREADS={value}: allowed: a number of threads from 1 on, or several such as 4,2")
    return int(given)


def relaunched(module: str) -> bool:
    """Run ``<launcher> -m module <this command's arguments>`` and say True; False if there is nothing to launch.

    Variables of the environment are filled in ($SLURM_NNODES).
    Nothing is launched without a ``launcher`` in params.yaml, nor inside a process that a launcher started. A failure
    of the processes ends this one with their exit code.
    """
    launcher = load_params().launcher
    if not launcher or any(variable in os.environ for variable in _SET_BY_LAUNCHERS):
        return False
    command, *options = (os.path.expandvars(part) for part in shlex.split(launcher))
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    program = shutil.which(command, path=beside)
    if program is None:
        raise FileNotFoundError(
            f'launcher: {launcher!r}: there is no command {command!r}; install it, or set launcher to ""'
        )
    environment = {**os.environ, LAUNCHED: launcher}
    code = subprocess.call([program, *options, "-m", module, *sys.argv[1:]], env=environment)
    if code:
        sys.exit(code)
    return True


def check_processes(world: int) -> None:
    """ValueError if a launcher that was asked for several processes started one (``world``).

    ``accelerate launch --cpu --num_processes 2`` does so without MPI, and the run would be no faster than before.
    """
    launcher = os.environ.get(LAUNCHED, "")
    if world == 1 and "WORLD_SIZE" not in os.environ and "MASTER_PORT" in os.environ and "accelerate" in launcher:
        raise ValueError(
            f"launcher: {launcher!r} was asked for several processes and started one; without a GPU write "
            "`accelerate launch --multi_gpu --num_processes <number>` (no --cpu), which takes gloo, or use torchrun"
        )
