"""Take apart what the run shows with one model: how much training exits need, and what contrast changes in answers."""

from autocontrastive_gen.experiment.cell_command import run_cell


def work(*cell) -> str:
    from autocontrastive_gen.pipeline.analyse_cell import analyse_cell

    return analyse_cell(*cell)


if __name__ == "__main__":
    run_cell("analyse", __doc__, work, launched=False)
