"""Render tables, figures, metrics and the page of the run that params.yaml names."""

from __future__ import annotations

import argparse
import logging

from autocontrastive_gen.experiment.cli import current_profile, run
from autocontrastive_gen.experiment.grid import Paths
from autocontrastive_gen.experiment.plan import read_plan

log = logging.getLogger("report")


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    from autocontrastive_gen.report.render import write_report

    profile = current_profile()
    paths = Paths(profile)
    write_report(paths, read_plan(profile, "report"))
    log.info("report written to %s", paths.reports / "index.html")


if __name__ == "__main__":
    run(main, "report")
