"""Fit the exits of one model, measure them, and choose the lower layer of ``-acd`` on validation prompts."""

from autocontrastive_gen.experiment.cell_command import run_cell


def work(*cell) -> None:
    from autocontrastive_gen.pipeline.train_cell import train_cell

    train_cell(*cell)


if __name__ == "__main__":
    run_cell("train", __doc__, work)
