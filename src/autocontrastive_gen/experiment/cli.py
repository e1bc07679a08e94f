"""What every command of the project does alike: its profile, its log and its exit code; and what every cell does."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable

import yaml

from autocontrastive_gen.experiment.grid import SCRATCH, Paths
from autocontrastive_gen.experiment.params import PARAMS

FAULT = 2
"""Exit code of bad input."""


def run(main: Callable[[], None], name: str) -> None:
    """Run a command: bad input (ValueError, OSError) ends in one clear message and exit code 2, without a traceback.

    The traceback of any failure is kept in ``.scratch/logs/<name>.log``. Ctrl-C ends with 130 and SIGTERM with 143,
    both through the clean-up of the blocks that are open.
    """
    logging.basicConfig(level=logging.INFO, format=f"{name}: %(message)s", stream=sys.stderr, force=True)
    noisy = ("httpx", "httpx2", "httpcore", "urllib3", "datasets", "filelock", "alembic", "matplotlib", "fontTools")
    for library in noisy:
        logging.getLogger(library).setLevel(logging.WARNING)
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
        sys.exit(_say(name, f"{error}{_remedy(error)}{where}", FAULT))
    except Exception as error:
        if type(error).__name__ != "SafetensorError":  # no import: commands that read no weights start without it
            raise
        where = _keep_traceback(name)
        sys.exit(_say(name, f"a file of weights is damaged ({error}): replace the model's files{where}", FAULT))


def _remedy(error: Exception) -> str:
    """The system's own words for a full disk name no way out."""
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "; the disk or your share of it is full: make room, then run the same command to go on"
    return ""


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


def run_cell(stage: str, purpose: str, work: Callable[..., None], setting: str = "", launched: bool = True) -> None:
    """Run a stage that has cells, as its command: ``python -m stages.<stage> --model ... [--setting ...]``.

    Args:
        purpose: what the help says of it.
        work: is called with the model, the setting if there is one, the cell's entry of the plan, the paths and the
            cost to add to. It imports what it needs itself: the command's help and its launcher need no model library.
        setting: what ``--setting`` is, for stages with a cell for each.
        launched: whether it runs in the processes of ``launcher``.
    """
    run(lambda: _cell(stage, purpose, work, setting, launched), stage)


def _cell(stage: str, purpose: str, work: Callable[..., None], setting: str, launched: bool) -> None:
    parser = argparse.ArgumentParser(prog=f"python -m stages.{stage}", description=purpose)
    parser.add_argument("--model", required=True, help="a model of run.models")
    if setting:
        parser.add_argument("--setting", required=True, help=setting)
    cell = tuple(vars(parser.parse_args()).values())

    from autocontrastive_gen.experiment.launch import relaunched

    if launched and relaunched(f"stages.{stage}"):
        return

    from autocontrastive_gen.experiment.plan import read_plan
    from autocontrastive_gen.experiment.provenance import cost_meter

    profile = current_profile()
    plan, paths = read_plan(profile, stage, *cell), Paths(profile)
    with cost_meter(paths.cost(stage, "-".join(cell))) as cost:
        work(*cell, plan, paths, cost)
