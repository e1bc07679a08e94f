"""Render the tables, figures, metrics and page of the run."""

from __future__ import annotations

from autocontrastive_gen.experiment.cell_command import cell_of_run, current_profile
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.experiment.plan import read_plan
from autocontrastive_gen.foundation.commands import parser as command_parser
from autocontrastive_gen.foundation.commands import run


def main() -> None:
    command_parser("report", __doc__).parse_args()
    profile = current_profile()
    paths, plan = Paths(profile), read_plan(profile, "report")
    with cell_of_run(profile, "report") as outcome:
        from autocontrastive_gen.report.headlines import headlines
        from autocontrastive_gen.report.render import write_report

        results = write_report(paths, plan)
        outcome += [*headlines(results), f"page {paths.reports / 'index.html'}"]


if __name__ == "__main__":
    run(main, "report")
