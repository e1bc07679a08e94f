"""Score all texts of one model, and the human continuations."""

from autocontrastive_gen.experiment.cell_command import run_cell


def work(*cell) -> str:
    from autocontrastive_gen.pipeline.score_cell import score_cell

    return score_cell(*cell)


if __name__ == "__main__":
    run_cell("score", __doc__, work, launched=False)
