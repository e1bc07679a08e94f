"""Score all texts of one model, and the human continuations beside them."""

from __future__ import annotations

import argparse

from autocontrastive_gen.experiment import cli
from autocontrastive_gen.experiment.grid import Paths
from autocontrastive_gen.experiment.plan import read_plan
from autocontrastive_gen.experiment.provenance import cost_meter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a model of run.models")
    name = parser.parse_args().model

    from autocontrastive_gen.evaluation.scores import score_cell

    profile = cli.current_profile()
    plan, paths = read_plan(profile, "score", name), Paths(profile)
    with cost_meter(paths.cost("score", name)) as cost:
        score_cell(name, plan, paths, cost)


if __name__ == "__main__":
    cli.run(main, "score")
