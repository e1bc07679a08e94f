"""Say what the run of params.yaml came to: its headline numbers, where its page is, and what to try next."""

from autocontrastive_gen.experiment.cell_command import current_profile
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.experiment.plan_file import read_plan
from autocontrastive_gen.foundation.command_line import command
from autocontrastive_gen.foundation.environment import activation
from autocontrastive_gen.foundation.errors import MissingFileError


def main() -> None:
    profile = current_profile()
    paths, plan = Paths(profile), read_plan(profile, "report")
    if not (paths.reports / "index.html").exists():
        raise MissingFileError(
            f"{paths.reports}/index.html: the run of profile {profile} has no page yet; `dvc repro` makes it"
        )

    from autocontrastive_gen.report.headlines import closing
    from autocontrastive_gen.report.results import Results

    print(closing(Results(paths, plan)))
    if first := activation():
        print(f"In a shell that does not know these commands, first: {first}")


if __name__ == "__main__":
    command(main, "results", __doc__)(prog_name="python -m stages.results")
