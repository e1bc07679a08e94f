"""Stages in several processes: a stage restarts itself under the launcher that params.yaml names."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from autocontrastive_gen.experiment.params import PARAMS
from autocontrastive_gen.foundation.environment import LAUNCHED
from autocontrastive_gen.foundation.errors import MissingFileError
from autocontrastive_gen.foundation.files import read_yaml

_SET_BY_LAUNCHERS = ("RANK", "WORLD_SIZE", LAUNCHED)


def relaunched(module: str) -> bool:
    """Run ``<launcher> -m module <this command's arguments>`` and return True; False if there is nothing to launch.

    Environment variables in the launcher, such as $SLURM_NNODES, are expanded. Nothing is launched without a
    ``launcher`` in params.yaml, nor inside a process that a launcher started. If the processes fail, this one exits
    with their exit code.

    Raises:
        MissingFileError: there is no such command.
    """
    launcher = read_yaml(PARAMS).get("launcher", "")  # the parameters were checked before any stage ran
    if not launcher or any(variable in os.environ for variable in _SET_BY_LAUNCHERS):
        return False
    command, *options = (os.path.expandvars(part) for part in shlex.split(launcher))
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    program = shutil.which(command, path=beside)
    if program is None:
        raise MissingFileError(
            f'launcher: {launcher!r}: there is no command {command!r}; install it, or set launcher to ""'
        )
    environment = {**os.environ, LAUNCHED: launcher}
    code = subprocess.call([program, *options, "-m", module, *sys.argv[1:]], env=environment)
    if code:
        sys.exit(code)
    return True
