"""Run the benchmark tasks with one model under one setting, through lm-eval."""

from autocontrastive_gen.experiment import cli


def work(*cell) -> None:
    from autocontrastive_gen.evaluation.benchmarks import benchmark_cell

    benchmark_cell(*cell)


if __name__ == "__main__":
    cli.run_cell("benchmark", __doc__, work, setting="a setting of run.benchmark_settings")
