"""Continue the prompts of every domain with one model under one setting."""

from autocontrastive_gen.experiment import cli


def work(*cell) -> None:
    from autocontrastive_gen.generation.cell import generate_cell

    generate_cell(*cell)


if __name__ == "__main__":
    cli.run_cell("generate", __doc__, work, setting="a setting of run.settings")
