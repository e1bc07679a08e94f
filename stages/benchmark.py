"""Run the benchmark tasks with one model under one setting, through lm-eval."""

from autocontrastive_gen.experiment.cell_command import run_cell


def work(*cell) -> str:
    from autocontrastive_gen.pipeline.benchmark_cell import benchmark_cell

    return benchmark_cell(*cell)


if __name__ == "__main__":
    run_cell("benchmark", __doc__, work, setting="a setting of run.benchmark_settings")
