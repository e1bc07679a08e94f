"""Choose the profile whose parameters params.yaml holds. This is not a stage of the pipeline."""

import argparse
import difflib
import sys
from itertools import product
from pathlib import Path

import yaml

from autocontrastive_gen.experiment.cell_command import current_profile
from autocontrastive_gen.experiment.params import PARAMS, Params, load_params, load_profile, profiles
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.experiment.plan import write_plan
from autocontrastive_gen.experiment.rendering import render
from autocontrastive_gen.foundation.commands import parser as command_parser
from autocontrastive_gen.foundation.commands import run
from autocontrastive_gen.foundation.digests import fingerprint
from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.foundation.files import write_text


def main() -> None:
    parser = command_parser("profile", __doc__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="use|show|diff|check|estimate")
    verbs.add_parser("show", help="which profile is in use, whether it was edited, and which there are")
    verbs.add_parser("check", help="validate params.yaml and write the plan of its run")
    for verb, text in (("use", "put a profile into params.yaml"), ("diff", "how params.yaml differs from a profile")):
        verb_parser = verbs.add_parser(verb, help=text)
        verb_parser.add_argument("name", help=", ".join(profiles()))
    estimate_parser = verbs.add_parser("estimate", help="time, memory and disk of a run, cell by cell, before it runs")
    estimate_parser.add_argument("--profile", help="a profile instead of params.yaml")
    peak = "of the machine that will run it, FLOP/s of a large matrix product; measured here by default"
    estimate_parser.add_argument("--flops", type=float, help=peak)
    estimate_parser.add_argument("--bandwidth", type=float, help="of its memory, bytes/s; measured here by default")
    arguments = parser.parse_args()
    if arguments.verb == "estimate":
        estimate(arguments)
    elif arguments.verb == "use":
        use(arguments.name)
    elif arguments.verb == "diff":
        sys.stdout.writelines(difference(arguments.name))
    elif arguments.verb == "check":
        check(load_params())
    else:
        show()


def check(params: Params) -> None:
    from autocontrastive_gen.data.task_names import check_tasks

    check_tasks(params)
    write_plan(params)


def difference(name: str) -> list[str]:
    """Unified diff from the profile to params.yaml; empty if they are the same."""
    wanted, present = render(load_profile(name)).splitlines(True), PARAMS.read_text(encoding="utf-8").splitlines(True)
    return list(difflib.unified_diff(wanted, present, f"profile {name}", str(PARAMS)))


def use(name: str) -> None:
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


def estimate(arguments: argparse.Namespace) -> None:
    from autocontrastive_gen.experiment.estimate import estimate as count
    from autocontrastive_gen.experiment.estimate import measured_rates, stated, table

    for key in ("flops", "bandwidth"):
        value = getattr(arguments, key)
        if value is not None and not 0 < value < float("inf"):
            raise InputError(f"--{key} {value}: must be above 0, such as 1e14 FLOP/s or 2e12 bytes/s")
    params = load_profile(arguments.profile) if arguments.profile else load_params()
    both = arguments.flops is not None and arguments.bandwidth is not None
    rates = stated(None if both else measured_rates(), arguments.flops, arguments.bandwidth)
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
    profile = current_profile()
    changes = [line for line in difference(profile) if line[0] in "+-" and not line.startswith(("+++", "---"))]
    print(f"{profile}{f', edited ({len(changes)} lines; `diff {profile}` shows them)' if changes else ''}")
    print(f"profiles: {', '.join(profiles())}")


if __name__ == "__main__":
    run(main, "profile")
