"""The command ``acd``: the library and the pipeline, without writing Python.

A command is imported when it is called, so that ``acd --help`` and shell completion are quick and need no package of
the pipeline. What works on a run (``PIPELINE``) is defined in ``stages/``, which only a clone of the project has.
"""

from __future__ import annotations

import importlib
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

import autocontrastive_gen
from autocontrastive_gen.cli import clone
from autocontrastive_gen.foundation.command_line import HELP_OPTIONS, Group, built, layout, pipeline_packages
from autocontrastive_gen.foundation.commands import run

LIBRARY = {
    "generate": ("continue a prompt with any model, decoder and contrast", "autocontrastive_gen.cli.generate_command"),
    "lens": ("see what every layer would say next along a text", "autocontrastive_gen.cli.lens_command"),
    "eval": ("run benchmarks of lm-eval with a multi-exit model", "autocontrastive_gen.cli.eval_command"),
}
"""Commands that work anywhere: {name: (what it does, its module)}."""
PIPELINE = {
    "demo": ("see what contrast changes in a text, before any run", "stages.demo"),
    "explore": ("play with prompts, settings side by side", "stages.explore"),
    "reproduce": ("run the pipeline and sum up its results", "stages.reproduce"),
    "profile": ("choose the parameters of the run", "stages.profile"),
    "check": ("validate params.yaml", "stages.profile:check_app"),
    "estimate": ("time, memory and disk of a run, before it runs", "stages.profile:estimate_app"),
    "compare": ("what differs between two runs", "stages.compare"),
    "sweep": ("draw the effect of parameters over experiments", "stages.sweep"),
    "human": ("export texts for human raters, import their votes", "stages.human"),
    "track": ("publish finished cells to MLflow", "stages.track"),
    "ui": ("open MLflow at the runs", "stages.ui"),
    "fetch-tasks": ("bundle benchmark data for machines without the hub", "stages.fetch:tasks_app"),
}
"""Commands that work in a clone of the project."""
PURPOSE = """Multi-exit language models and auto-contrastive decoding.

`acd COMMAND --help` has examples. `generate`, `lens` and `eval` work anywhere, the others in a clone of the project.

Examples:

    acd generate --model gpt2 --contrast acd --prompt "The museum was"
    acd reproduce
    acd compare HEAD
"""


class Commands(Group):
    """The commands by name; listed without their modules, which are imported when a command is resolved."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for panel, commands in (("Anywhere", LIBRARY), ("In a clone of the project", PIPELINE)):
            for name, (purpose, _) in commands.items():
                self.add_command(TyperCommand(name, help=purpose, rich_help_panel=panel))

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, _, rest = super().resolve_command(ctx, args)
        found: list[Any] = []
        run(lambda: found.append(load(str(name))), str(name))
        return name, found[0], rest


def load(name: str) -> Any:
    """The command of that name.

    Raises:
        InputError: it needs a clone of the project or a package that is not there.
    """
    if name in PIPELINE:
        clone.enter(name)
    module, _, attribute = {**LIBRARY, **PIPELINE}[name][1].partition(":")
    with pipeline_packages(f"acd {name}"):
        return built(getattr(importlib.import_module(module), attribute or "app"))


def build() -> typer.Typer:
    """The whole command line."""
    settings = {**layout(), "add_completion": True}
    app = typer.Typer(cls=Commands, help=PURPOSE, no_args_is_help=True, context_settings=HELP_OPTIONS, **settings)
    app.callback()(options)
    return app


def show_version(wanted: bool) -> None:
    if wanted:
        print(autocontrastive_gen.__version__)
        raise typer.Exit


VERSION = typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")


def options(version: Annotated[bool, VERSION] = False) -> None:
    """What ``acd`` takes without a command."""


def main() -> None:
    """The console script."""
    build()(prog_name="acd")


if __name__ == "__main__":
    main()
