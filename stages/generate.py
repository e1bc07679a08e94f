"""Continue the prompts of every domain with one model under one setting."""

from autocontrastive_gen.experiment.cell_command import run_cell


def work(*cell) -> str:
    from autocontrastive_gen.pipeline.generate_cell import generate_cell

    return generate_cell(*cell)


if __name__ == "__main__":
    run_cell("generate", __doc__, work, setting="a setting of run.settings")
