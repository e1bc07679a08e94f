"""Run the benchmark tasks with one model under one setting, through lm-eval."""

from __future__ import annotations

import argparse

from autocontrastive_gen.experiment import cli
from autocontrastive_gen.experiment.grid import Paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a model of run.models")
    parser.add_argument("--setting", required=True, help="a setting of run.benchmark_settings")
    arguments = parser.parse_args()

    from autocontrastive_gen.experiment.launch import relaunched

    if relaunched("stages.benchmark"):
        return

    from autocontrastive_gen.evaluation.benchmarks import benchmark_cell
    from autocontrastive_gen.experiment.plan import read_plan
    from autocontrastive_gen.experiment.provenance import cost_meter

    profile = cli.current_profile()
    plan, paths = read_plan(profile, "benchmark", arguments.model, arguments.setting), Paths(profile)
    with cost_meter(paths.cost("benchmark", f"{arguments.model}-{arguments.setting}")) as cost:
        benchmark_cell(arguments.model, arguments.setting, plan, paths, cost)


if __name__ == "__main__":
    cli.run(main, "benchmark")
