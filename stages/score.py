"""Score all texts of one model, and the human continuations beside them."""

from autocontrastive_gen.experiment import cli


def work(*cell) -> None:
    from autocontrastive_gen.evaluation.scores import score_cell

    score_cell(*cell)


if __name__ == "__main__":
    cli.run_cell("score", __doc__, work, launched=False)
