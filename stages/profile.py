"""Choose the profile whose parameters params.yaml holds. This is not a stage of the pipeline.

Examples:

    acd profile show
    acd profile use paper
    acd profile diff laptop
"""

from __future__ import annotations

import difflib
import sys
from itertools import product
from pathlib import Path
from typing import Annotated

import typer
import yaml

from autocontrastive_gen.experiment.cell_command import current_profile
from autocontrastive_gen.experiment.params import PARAMS, Params, load_params, load_profile, profiles
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.experiment.plan import write_plan
from autocontrastive_gen.experiment.rendering import render
from autocontrastive_gen.foundation.command_line import command, group
from autocontrastive_gen.foundation.digests import fingerprint
from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.foundation.files import write_text

NAMES = "the name of a profile: a file of conf/profiles"
RATE = "of the machine that will run it, {}; measured on this one by default"


def check() -> None:
    """Validate params.yaml and write the plan of its run.

    All mistakes are reported together, each with its remedy.

    Examples:

        acd check
    """
    from autocontrastive_gen.data.task_names import check_tasks

    params = load_params()
    check_tasks(params)
    write_plan(params)
    print(f"{PARAMS} is valid; its plan is {Paths(params.profile).plan}")


def diff(name: Annotated[str, typer.Argument(help=NAMES, autocompletion=profiles)]) -> None:
    """Show how params.yaml differs from a profile."""
    sys.stdout.writelines(difference(name))


def difference(name: str) -> list[str]:
    """Unified diff from the profile to params.yaml; empty if they are the same."""
    wanted, present = render(load_profile(name)).splitlines(True), PARAMS.read_text(encoding="utf-8").splitlines(True)
    return list(difflib.unified_diff(wanted, present, f"profile {name}", str(PARAMS)))


def use(name: Annotated[str, typer.Argument(help=NAMES, autocompletion=profiles)]) -> None:
    """Put a profile into params.yaml."""
    params = load_profile(name)
    keep_edits()
    write_text(PARAMS, render(params))
    write_plan(params)
    make_room(params)
    print(f"{PARAMS} now holds profile {name}; `dvc repro` runs it")


def make_room(params: Params) -> None:
    """Make empty folders for the results of stages, so that `dvc repro --dry` can list a run that has not begun.

    DVC 3.67 stops at a dependency that does not exist, even if an earlier stage will make it (its issue 9818). A
    profile in dvc.lock is left alone: its results may be pulled, and an empty folder in their place would count as a
    change.
    """
    runs, lock = str(Paths(params.profile).runs), Path("dvc.lock")
    if not Path("dvc.yaml").exists() or lock.exists() and f"{runs}/" in lock.read_text(encoding="utf-8"):
        return
    stages = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for name, stage in stages.items():
        settings = params.run.benchmark_settings if name == "benchmark" else params.run.settings
        cells = list(product(params.run.models, settings)) if "matrix" in stage else [("", "")]
        for dep, (model, setting) in product(stage["deps"], cells):
            for key, value in (("profile", params.profile), ("item.model", model), ("item.setting", setting)):
                dep = dep.replace(f"${{{key}}}", value)
            if dep.startswith((runs, str(Paths(params.profile).reports))) and not Path(dep).exists():
                Path(dep).mkdir(parents=True)


def estimate(
    profile: Annotated[
        str | None, typer.Option(help="a profile instead of params.yaml", autocompletion=profiles)
    ] = None,
    flops: Annotated[float | None, typer.Option(help=RATE.format("FLOP/s of a large matrix product"))] = None,
    bandwidth: Annotated[float | None, typer.Option(help=RATE.format("bytes/s of its memory"))] = None,
) -> None:
    """Estimate time, memory and disk of a run.

    Each cell is counted before anything runs.

    Examples:

        acd estimate
        acd estimate --profile paper --flops 1e14 --bandwidth 1.5e12
    """
    from autocontrastive_gen.experiment.estimate import estimate as count
    from autocontrastive_gen.experiment.estimate import table
    from autocontrastive_gen.experiment.rates import measured_rates, stated

    for key, value in (("flops", flops), ("bandwidth", bandwidth)):
        if value is not None and not 0 < value < float("inf"):
            raise InputError(f"--{key} {value}: must be above 0, such as 1e14 FLOP/s or 2e12 bytes/s")
    params = load_profile(profile) if profile else load_params()
    both = flops is not None and bandwidth is not None
    rates = stated(None if both else measured_rates(), flops, bandwidth)
    print(table(count(params), rates))


def keep_edits() -> None:
    """Save an edited params.yaml under another name, so that changing the profile loses no work."""
    present = PARAMS.read_text(encoding="utf-8") if PARAMS.exists() else ""
    if not present or present in (render(load_profile(name)) for name in profiles()):
        return
    kept = Path(f"params.edited-{fingerprint(present)[:8]}.yaml")
    write_text(kept, present)
    print(f"{PARAMS} had been edited: kept as {kept}")


def show() -> None:
    """Show which profile is in use, and which there are."""
    profile = current_profile()
    changes = [line for line in difference(profile) if line[0] in "+-" and not line.startswith(("+++", "---"))]
    print(f"{profile}{f', edited ({len(changes)} lines; `diff {profile}` shows them)' if changes else ''}")
    print(f"profiles: {', '.join(profiles())}")


app = group("profile", __doc__, show=show, use=use, diff=diff, check=check, estimate=estimate)
check_app = command(check, "check")
estimate_app = command(estimate, "estimate")

if __name__ == "__main__":
    app(prog_name="python -m stages.profile")
