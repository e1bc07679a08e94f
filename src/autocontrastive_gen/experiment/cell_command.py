"""The commands of stages that have cells: ``python -m stages.<stage> --model ... [--setting ...]``."""

from __future__ import annotations

from collections.abc import Callable

import yaml

from autocontrastive_gen.experiment.params import PARAMS
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation.commands import parser as command_parser
from autocontrastive_gen.foundation.commands import run
from autocontrastive_gen.foundation.errors import InputError


def current_profile() -> str:
    """The profile that params.yaml names; everything else that a stage reads is in the plan.

    Raises:
        InputError: params.yaml names none.
    """
    try:
        return yaml.safe_load(PARAMS.read_text(encoding="utf-8"))["profile"]
    except (KeyError, TypeError, yaml.YAMLError):
        raise InputError(
            f"{PARAMS}: has no readable `profile`; `python -m stages.profile use laptop` writes one"
        ) from None


def run_cell(stage: str, purpose: str, work: Callable[..., None], setting: str = "", launched: bool = True) -> None:
    """Run the command of a stage that has cells: ``python -m stages.<stage> --model ... [--setting ...]``.

    Args:
        stage: name of the stage.
        purpose: description for ``--help``.
        work: called with the model, the setting if there is one, the cell's entry of the plan, the paths, and the cost
            to which it may add. It does its own imports, so that help and launcher load no model library.
        setting: help for ``--setting``, in stages with a cell per setting; otherwise empty.
        launched: whether the stage runs in the processes of ``launcher``.
    """
    run(lambda: _cell(stage, purpose, work, setting, launched), stage)


def _cell(stage: str, purpose: str, work: Callable[..., None], setting: str, launched: bool) -> None:
    parser = command_parser(stage, purpose)
    parser.add_argument("--model", required=True, help="a model of run.models")
    if setting:
        parser.add_argument("--setting", required=True, help=setting)
    cell = tuple(vars(parser.parse_args()).values())

    from autocontrastive_gen.experiment.launch import relaunched

    if launched and relaunched(f"stages.{stage}"):
        return

    from autocontrastive_gen.experiment.plan import read_plan
    from autocontrastive_gen.foundation.cost import cost_meter

    profile = current_profile()
    plan, paths = read_plan(profile, stage, *cell), Paths(profile)
    with cost_meter(paths.cost(stage, "-".join(cell))) as cost:
        work(*cell, plan, paths, cost)
