"""Play with a model: continue a prompt under several settings side by side, and see what every layer wants.

Opens a page on 127.0.0.1, which no other machine can reach, until Ctrl-C. Without options, it opens the run of
params.yaml, or the model of `acd demo` if that run is not finished. This is not a stage of the pipeline.

Examples:

    acd explore
    acd explore --run laptop
    acd explore --model gpt2 --exits my-exits
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from autocontrastive_gen.cli.generate_command import read_trial
from autocontrastive_gen.experiment.cell_command import current_profile
from autocontrastive_gen.foundation import console
from autocontrastive_gen.foundation.command_line import command
from autocontrastive_gen.foundation.errors import InputError, MissingFileError, mendable

log = logging.getLogger(__name__)

EXITS = "trained exits for --model, a folder or a name on the hub; by default its own head reads every layer"


def main(
    profile: Annotated[
        str | None,
        typer.Option("--run", help="a finished run, with its exits, settings and prompts", metavar="PROFILE"),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="a folder or a name on the hub; with --run, one of the run's models")
    ] = None,
    exits: Annotated[str | None, typer.Option(help=EXITS)] = None,
    trial: Annotated[Path | None, typer.Option(help="a JSON file that the page has saved, to start with")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="port on 127.0.0.1; 0 takes a free one")] = 8000,
    browser: Annotated[bool, typer.Option(help="open the page in a browser")] = True,
) -> None:
    if exits and (profile or not model):
        raise InputError("--exits goes with --model; a run has exits of its own")
    own = console.current() or console.Console("explore")
    with mendable("explore needs the extra `explore`: pip install 'autocontrastive-suite[explore]'", (ImportError,)):
        from autocontrastive_gen.review.playground.server import listen, serve
    listener = listen(port)
    with own.quiet():
        from autocontrastive_gen.review.playground.web_app import playground

        app = playground(subject(profile, model, exits), read_trial(trial) if trial else None)
    serve(app, listener, lambda text: log.info("%s", text), browser)


def subject(profile: str | None, model: str | None, exits: str | None):
    """What the options name; without any, the run of params.yaml or the model of the demo."""
    from autocontrastive_gen.review.playground.subject import subject_of_model, subject_of_run
    from stages.demo import fetched

    if profile:
        return subject_of_run(profile, model)
    if model:
        return subject_of_model(model, exits)
    try:
        return subject_of_run(current_profile())
    except MissingFileError as error:
        log.info("%s; until then, this is the model of the demo", error)
        return subject_of_model(fetched())


app = command(main, "explore", __doc__)

if __name__ == "__main__":
    app(prog_name="python -m stages.explore")
