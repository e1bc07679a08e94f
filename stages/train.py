"""Train the exits of one model and measure them."""

from autocontrastive_gen.experiment.cell_command import run_cell


def work(*cell) -> str:
    from autocontrastive_gen.pipeline.train_cell import train_cell

    return train_cell(*cell)


if __name__ == "__main__":
    run_cell("train", __doc__, work)
