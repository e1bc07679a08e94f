"""Fit the exits of one model, measure them, and choose the lower layer of ``-acd`` on validation prompts."""

from __future__ import annotations

import argparse

from autocontrastive_gen.experiment import cli
from autocontrastive_gen.experiment.grid import Paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a model of run.models")
    name = parser.parse_args().model

    from autocontrastive_gen.experiment.launch import relaunched

    if relaunched("stages.train"):
        return

    from autocontrastive_gen.experiment.plan import read_plan
    from autocontrastive_gen.experiment.provenance import cost_meter
    from autocontrastive_gen.training.cell import train_cell

    profile = cli.current_profile()
    plan, paths = read_plan(profile, "train", name), Paths(profile)
    with cost_meter(paths.cost("train", name)) as cost:
        train_cell(name, plan, paths, cost)


if __name__ == "__main__":
    cli.run(main, "train")
