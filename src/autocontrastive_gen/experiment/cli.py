"""What every command of the project does alike: its arguments' profile, its log and its exit code."""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable

import yaml

from autocontrastive_gen.experiment.grid import SCRATCH
from autocontrastive_gen.experiment.params import PARAMS

FAULT = 2
"""Exit code of bad input."""


def run(main: Callable[[], None], name: str) -> None:
    """Run a command: bad input (ValueError, OSError) ends in one clear message and exit code 2, without a traceback.

    The traceback of any failure is kept in ``.scratch/logs/<name>.log``. Ctrl-C ends with 130 and SIGTERM with 143,
    both through the clean-up of the blocks that are open.
    """
    logging.basicConfig(level=logging.INFO, format=f"{name}: %(message)s", stream=sys.stderr, force=True)
    for noisy in ("httpx", "httpcore", "urllib3", "datasets", "filelock", "alembic", "matplotlib", "fontTools"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    for variable in ("DVC_NO_ANALYTICS", "DO_NOT_TRACK", "HF_HUB_DISABLE_TELEMETRY", "MLFLOW_DISABLE_TELEMETRY"):
        os.environ.setdefault(variable, "1")
    signal.signal(signal.SIGTERM, _terminate)
    # workers of a forked pool are ended by SIGTERM: one that ran our handler instead could wait for its queue for ever
    os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(_say(name, "stopped; what was finished is kept, run the same command to go on", 130))
    except (ValueError, OSError) as error:
        where = _keep_traceback(name)
        sys.exit(_say(name, f"{error}{where}", FAULT))


def _terminate(signum, frame):
    sys.exit(128 + signum)


def _say(name: str, message: str, code: int) -> int:
    print(f"{name}: {message}", file=sys.stderr, flush=True)
    return code


def _keep_traceback(name: str) -> str:
    try:
        path = SCRATCH / "logs" / f"{name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(traceback.format_exc(), encoding="utf-8")
    except OSError:  # the disk may be what failed
        return ""
    return f"\n{name}: details in {path}"


def current_profile() -> str:
    """The profile that params.yaml names; everything else that a stage may know is in the plan."""
    try:
        return yaml.safe_load(PARAMS.read_text(encoding="utf-8"))["profile"]
    except (KeyError, TypeError, yaml.YAMLError):
        raise ValueError(
            f"{PARAMS}: has no readable `profile`; `python -m stages.profile use laptop` writes one"
        ) from None
