"""Render tables, figures, metrics and the page of the run that params.yaml names."""

from __future__ import annotations

import argparse
import logging

from autocontrastive_gen.experiment.cli import current_profile, run
from autocontrastive_gen.experiment.grid import Paths
from autocontrastive_gen.experiment.params import PROFILES, load_params
from autocontrastive_gen.experiment.plan import build, read_plan

log = logging.getLogger("report")


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    from autocontrastive_gen.report.render import write_report

    profile = current_profile()
    paths = Paths(profile)
    plan = read_plan(profile, "report")
    write_report(paths, plan, edited(profile, plan))
    log.info("report written to %s", paths.reports / "index.html")


def edited(profile: str, plan: dict) -> list[str]:
    """Dotted names of the report's parameters that differ from the profile's own file."""
    path = PROFILES / f"{profile}.yaml"
    own = build(load_params(path))["report"] if path.exists() else plan
    return sorted(_differences(plan, own))


def _differences(a, b, name: str = ""):
    if isinstance(a, dict) and isinstance(b, dict):
        for key in {*a, *b}:
            yield from _differences(a.get(key), b.get(key), f"{name}.{key}" if name else key)
    elif a != b:
        yield name


if __name__ == "__main__":
    run(main, "report")
