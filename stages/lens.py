"""See what every layer of a model would say next along a text: ``acd lens``. This is not a stage of the pipeline."""

from autocontrastive_gen.cli.lens_command import app

if __name__ == "__main__":
    app(prog_name="python -m stages.lens")
