"""Draw the effect of parameters over finished DVC experiments. This is not a stage of the pipeline.

    python -m stages.sweep contrasts.acd.alpha
    python -m stages.sweep contrasts.acd.alpha models.smollm2.lower --metrics diversity

The first key is the x axis; each value of the others has a line of its own. Experiments that differ from the workspace
in any other parameter are left out and listed.
"""

from __future__ import annotations

import logging
from pathlib import Path

from autocontrastive_gen.experiment.cell_command import current_profile
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation.commands import parser as command_parser
from autocontrastive_gen.foundation.commands import run
from autocontrastive_gen.foundation.files import write_csv

log = logging.getLogger(__name__)


def main() -> None:
    parser = command_parser("sweep", __doc__)
    parser.add_argument("keys", nargs="+", metavar="KEY", help="a key of params.yaml, such as contrasts.acd.alpha")
    parser.add_argument(
        "--settings",
        nargs="+",
        default=[],
        metavar="SETTING",
        help="settings to draw (default: those of the first decoder)",
    )
    parser.add_argument("--metrics", nargs="+", default=[], metavar="METRIC", help="metrics to draw")
    parser.add_argument("--to", type=Path, help="folder of the csv, svg and png (default: reports/<profile>/sweeps)")
    arguments = parser.parse_args()

    from autocontrastive_gen.review import sweep

    rows = sweep.table(arguments.keys, arguments.settings, arguments.metrics)
    drawn = sweep.figure(rows, arguments.keys)
    folder = arguments.to or Paths(current_profile()).reports / "sweeps"
    write_csv(folder / f"{drawn.name}.csv", [*arguments.keys, *sweep.COLUMNS], rows)
    drawn.write(folder)
    log.info("%d numbers in %s, drawn in %s", len(rows), folder / f"{drawn.name}.csv", folder / f"{drawn.name}.svg")


if __name__ == "__main__":
    run(main, "sweep")
