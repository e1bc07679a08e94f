"""Choose the lower layer of each contrast on validation prompts, and resolve the settings of one model."""

from autocontrastive_gen.experiment.cell_command import run_cell


def work(*cell) -> str:
    from autocontrastive_gen.pipeline.select_cell import select_cell

    return select_cell(*cell)


if __name__ == "__main__":
    run_cell("select", __doc__, work, launched=False)
