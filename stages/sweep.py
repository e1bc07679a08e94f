"""Draw the effect of parameters over finished DVC experiments. This is not a stage of the pipeline.

The first key is the x axis; each value of the others has a line of its own. Experiments that differ from the workspace
in any other parameter are left out and listed.

Examples:

    acd sweep contrasts.acd.alpha
    acd sweep contrasts.acd.alpha models.smollm2.lower --metrics diversity
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from autocontrastive_gen.experiment.cell_command import current_profile
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation.command_line import command
from autocontrastive_gen.foundation.files import write_csv

log = logging.getLogger(__name__)


def main(
    keys: Annotated[list[str], typer.Argument(help="keys of params.yaml, such as contrasts.acd.alpha", metavar="KEY")],
    settings: Annotated[
        list[str],
        typer.Option(help="settings to draw; by default those of the first decoder", metavar="SETTING..."),
    ] = [],  # noqa: B006 - Typer makes a new list per call
    metrics: Annotated[list[str], typer.Option(help="metrics to draw", metavar="METRIC...")] = [],  # noqa: B006
    to: Annotated[
        Path | None, typer.Option(help="folder of the csv, svg and png; by default reports/<profile>/sweeps")
    ] = None,
) -> None:
    from autocontrastive_gen.review import sweep

    rows = sweep.table(keys, settings, metrics)
    drawn = sweep.figure(rows, keys)
    folder = to or Paths(current_profile()).reports / "sweeps"
    write_csv(folder / f"{drawn.name}.csv", [*keys, *sweep.COLUMNS], rows)
    drawn.write(folder)
    log.info("%d numbers in %s, drawn in %s", len(rows), folder / f"{drawn.name}.csv", folder / f"{drawn.name}.svg")


app = command(main, "sweep", __doc__)

if __name__ == "__main__":
    app(prog_name="python -m stages.sweep")
