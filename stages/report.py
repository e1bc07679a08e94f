"""Render the tables, figures, metrics and page of the run.

Of two reports of a profile that are rendered at once, the later one waits. A finished report is not replaced with one
that has no results to show.
"""

from __future__ import annotations

from autocontrastive_gen.experiment.cell_command import cell_of_run, current_profile
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.experiment.plan_file import read_plan
from autocontrastive_gen.foundation.commands import alone, run
from autocontrastive_gen.foundation.commands import parser as command_parser
from autocontrastive_gen.foundation.errors import MissingFileError
from autocontrastive_gen.foundation.files import SCRATCH


def main() -> None:
    command_parser("report", __doc__).parse_args()
    profile = current_profile()
    paths, plan = Paths(profile), read_plan(profile, "report")
    lock = SCRATCH / f"report-{profile}.lock"
    with cell_of_run(profile, "report") as outcome, alone(lock, f"renders the report of {profile}"):
        from autocontrastive_gen.report.headlines import headlines
        from autocontrastive_gen.report.render import write_report
        from autocontrastive_gen.report.results import Results

        page = paths.reports / "index.html"
        if page.exists() and not Results(paths, plan).begun:
            raise MissingFileError(
                f"{page}: stays, because no result of profile {profile} is here to replace it with; `dvc pull` brings "
                "the results where there is a remote, and `dvc repro` makes them"
            )
        results = write_report(paths, plan)
        outcome += [*headlines(results), f"page {page}"]


if __name__ == "__main__":
    run(main, "report")
