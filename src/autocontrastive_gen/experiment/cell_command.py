"""The commands of stages that have cells: ``python -m stages.<stage> --model ... [--setting ...]``."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from autocontrastive_gen.experiment.params import PARAMS
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation import console
from autocontrastive_gen.foundation.commands import parser as command_parser
from autocontrastive_gen.foundation.commands import run
from autocontrastive_gen.foundation.cost import cost_meter, duration
from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.foundation.files import read_yaml

log = logging.getLogger(__name__)


def current_profile() -> str:
    """The profile that params.yaml names; everything else that a stage reads is in the plan.

    Raises:
        InputError: params.yaml names none.
    """
    content = read_yaml(PARAMS)
    if not isinstance(content, dict) or not isinstance(content.get("profile"), str):
        raise InputError(f"{PARAMS}: has no readable `profile`; `python -m stages.profile use laptop` writes one")
    return content["profile"]


def run_cell(stage: str, purpose: str, work: Callable[..., str], setting: str = "", launched: bool = True) -> None:
    """Run the command of a stage that has cells: ``python -m stages.<stage> --model ... [--setting ...]``.

    Args:
        stage: name of the stage.
        purpose: description for ``--help``.
        work: called with the model, the setting if there is one, the cell's entry of the plan, the paths, and the cost
            to which it may add; returns what came out, in a few words. It does its own imports, so that help and
            launcher load no model library.
        setting: help for ``--setting``, in stages with a cell per setting; otherwise empty.
        launched: whether the stage runs in the processes of ``launcher``.
    """
    run(lambda: _cell(stage, purpose, work, setting, launched), stage)


def _cell(stage: str, purpose: str, work: Callable[..., str], setting: str, launched: bool) -> None:
    parser = command_parser(stage, purpose)
    parser.add_argument("--model", required=True, help="a model of run.models")
    if setting:
        parser.add_argument("--setting", required=True, help=setting)
    cell = tuple(vars(parser.parse_args()).values())

    from autocontrastive_gen.experiment.launch import relaunched

    if launched and relaunched(f"stages.{stage}"):
        return

    from autocontrastive_gen.experiment.plan_file import read_plan

    profile = current_profile()
    plan, paths = read_plan(profile, stage, *cell), Paths(profile)
    with cell_of_run(profile, stage, *cell) as outcome, cost_meter(paths.cost(stage, "-".join(cell))) as cost:
        outcome.append(work(*cell, plan, paths, cost))


@contextmanager
def cell_of_run(profile: str, stage: str, *rest: str) -> Iterator[list[str]]:
    """Run the block as a cell: what libraries print goes to the log file, and one line says at the end what came out.

    The block appends to the list what came out, in a few words. Of a run of DVC, the first cell says what there is to
    do, and each one how far the run is. Of several processes, the first one speaks.
    """
    began = time.perf_counter()
    own = console.current() or console.Console(stage)
    outcome: list[str] = []
    with own.quiet("-".join(rest)):
        progress = _progress(profile, (stage, *rest), own)
        yield outcome
        came_out = ", ".join(filter(None, outcome)) or "done"
        taken = f"{' '.join((stage, *rest))}: {came_out}, in {duration(time.perf_counter() - began)}"
        where = _finished(progress, (stage, *rest))
    if os.environ.get("RANK", "0") == "0":
        own.say(f"{taken}{where}")


def _progress(profile: str, cell: tuple[str, ...], own: console.Console):
    """The progress of the run of which this is a cell; None if there is none, or if it cannot be told."""
    if os.environ.get("RANK", "0") != "0":
        return None
    try:
        from autocontrastive_gen.experiment.run_progress import RunProgress, current_run

        if (run := current_run()) is None:
            return None
        progress, first = RunProgress.of(profile, cell, run)
        if first:
            own.say(f"to do: {progress.plan}")
        return progress
    except Exception:
        log.debug("the progress of the run is not known", exc_info=True)
        return None


def _finished(progress, cell: tuple[str, ...]) -> str:
    """How far the run is after this cell, in brackets; empty if that is not known."""
    if progress is None:
        return ""
    try:
        progress.finish(cell)
        return f" ({progress.position})"
    except Exception:
        log.debug("the progress of the run is not known", exc_info=True)
        return ""
