"""Publish every cell of the run to MLflow, once. ``--republish`` fills any store from the files, outside DVC.

If the store cannot be reached, the exit code is 1: for DVC the stage has then failed, and the next repro tries again.
"""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from autocontrastive_gen.experiment.cell_command import cell_of_run, current_profile
from autocontrastive_gen.experiment.lock import read_lock
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.experiment.plan_file import read_plan
from autocontrastive_gen.foundation.command_line import command
from autocontrastive_gen.foundation.files import write_json
from autocontrastive_gen.review.records import read_cells
from autocontrastive_gen.review.tracking import TrackingError, publish

log = logging.getLogger(__name__)


def main(
    republish: Annotated[bool, typer.Option("--republish", help="publish only; write no receipt for DVC")] = False,
) -> None:
    profile = current_profile()
    plan, lock = read_plan(profile), read_lock()
    cells = read_cells(profile, plan, lock)
    with cell_of_run(profile, "track") as outcome:
        try:
            count = publish(profile, plan, lock, cells)
        except TrackingError as error:
            log.error("%s", error)
            raise SystemExit(1) from error
        outcome += [f"{number} runs {state} in MLflow" for state, number in count.items() if number]
        if not republish:
            receipt = {"profile": profile, "cells": {cell.entry.name: cell.entry.key for cell in cells}}
            write_json(Paths(profile).receipt, receipt)


def track() -> None:
    """Publish every finished cell to MLflow: to the server of MLFLOW_TRACKING_URI, or to mlflow.db.

    What the store has already is not published again.

    Examples:

        acd track
        MLFLOW_TRACKING_URI=http://127.0.0.1:5000 acd track
    """
    main(republish=True)


app = command(track, "track")

if __name__ == "__main__":
    command(main, "track", __doc__)(prog_name="python -m stages.track")
