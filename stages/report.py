"""Render the tables, figures, metrics and page of the run."""

from __future__ import annotations

import logging

from autocontrastive_gen.experiment.cell_command import current_profile
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.experiment.plan import read_plan
from autocontrastive_gen.foundation.commands import parser as command_parser
from autocontrastive_gen.foundation.commands import run

log = logging.getLogger("report")


def main() -> None:
    command_parser("report", __doc__).parse_args()
    from autocontrastive_gen.report.render import write_report

    profile = current_profile()
    paths = Paths(profile)
    write_report(paths, read_plan(profile, "report"))
    log.info("report written to %s", paths.reports / "index.html")


if __name__ == "__main__":
    run(main, "report")
