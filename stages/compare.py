"""Show what differs between two runs, and every metric with paired intervals. This is not a stage of the pipeline."""

from __future__ import annotations

import logging
from pathlib import Path

from autocontrastive_gen.foundation.commands import parser as command_parser
from autocontrastive_gen.foundation.commands import run
from autocontrastive_gen.foundation.files import write_text

log = logging.getLogger(__name__)
WIDTH = 140
"""Width of the tables if the output is not a terminal."""


def main() -> None:
    parser = command_parser("compare", __doc__)
    kinds = "a git revision, a DVC experiment, the id or name of an MLflow run, or `workspace`"
    parser.add_argument("a", metavar="A", help=kinds)
    parser.add_argument(
        "b", metavar="B", nargs="?", default="workspace", help="the same for the other run (default: workspace)"
    )
    parser.add_argument("--all", action="store_true", help="also print the metrics that are the same")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write the comparison as a page")
    arguments = parser.parse_args()

    from rich.console import Console

    from autocontrastive_gen.review.compare import compare
    from autocontrastive_gen.review.compare_view import page, show
    from autocontrastive_gen.review.snapshots import find_state

    difference = compare(find_state(arguments.a), find_state(arguments.b))
    console = Console()
    show(difference, console if console.is_terminal else Console(width=WIDTH), every=arguments.all)
    if arguments.html:
        write_text(arguments.html, page(difference))
        log.info("%s written", arguments.html)


if __name__ == "__main__":
    run(main, "compare")
