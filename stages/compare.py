"""Show what differs between two runs, and every metric with paired intervals. This is not a stage of the pipeline.

Examples:

    acd compare HEAD
    acd compare main workspace --html comparison.html
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from autocontrastive_gen.foundation.command_line import command
from autocontrastive_gen.foundation.files import write_text

log = logging.getLogger(__name__)
WIDTH = 140
"""Width of the tables if the output is not a terminal."""


KINDS = "a git revision, a DVC experiment, the id or name of an MLflow run, or `workspace`"


def main(
    a: Annotated[str, typer.Argument(help=KINDS, metavar="A")],
    b: Annotated[str, typer.Argument(help="the same for the other run", metavar="B")] = "workspace",
    every: Annotated[bool, typer.Option("--all", help="also print the metrics that are the same")] = False,
    html: Annotated[Path | None, typer.Option(help="also write the comparison as a page", metavar="FILE")] = None,
) -> None:
    from rich.console import Console

    from autocontrastive_gen.review.compare import compare
    from autocontrastive_gen.review.compare_view import page, show
    from autocontrastive_gen.review.snapshots import find_state

    difference = compare(find_state(a), find_state(b))
    console = Console()
    show(difference, console if console.is_terminal else Console(width=WIDTH), every=every)
    if html:
        write_text(html, page(difference))
        log.info("%s written", html)


app = command(main, "compare", __doc__)

if __name__ == "__main__":
    app(prog_name="python -m stages.compare")
