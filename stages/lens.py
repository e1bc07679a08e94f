"""See what every layer of a model would say next along a text, as a page, a picture or a table.

    python -m stages.lens --model gpt2 --text "The museum was founded in" --output lens.html
    python -m stages.lens --model runs/laptop/fetch/smollm2 --exits runs/laptop/train/smollm2/exits \\
        --text "The museum was founded in" --contrast acd25 dola --output lens.html

A row is a layer, a column a position of the text, and a cell holds the token that the layer would say next. Below the
layers is a row for each contrast. Layers without a trained exit are read by the model's own head. This is not a stage
of the pipeline.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from autocontrastive_gen.foundation import console
from autocontrastive_gen.foundation.commands import parser as command_parser
from autocontrastive_gen.foundation.commands import run
from autocontrastive_gen.foundation.errors import InputError

log = logging.getLogger(__name__)


def main() -> None:
    parser = command_parser("lens", __doc__)
    add_arguments(parser)
    write(parser.parse_args())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("--model", required=True, help="a folder or a name on the hub")
    parser.add_argument("--exits", type=Path, help="a folder of trained exits (default: those of the model, if any)")
    text = parser.add_mutually_exclusive_group(required=True)
    text.add_argument("--text", help="the text that the model reads")
    text.add_argument("--text-file", type=Path, metavar="FILE", help="a file that holds the text")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="lens.html, lens.png or lens.csv")
    parser.add_argument(
        "--contrast", nargs="+", default=[], metavar="NAME",
        help="contrasts to show, such as acd, dola or, with a lower layer, acd12",
    )  # fmt: skip
    parser.add_argument(
        "--layers", nargs="+", metavar="LAYER",
        help="layers to show: numbers, or all (default: those with an exit; all of a model without exits)",
    )  # fmt: skip
    parser.add_argument("--lower", type=int, metavar="LAYER", help="the lower layer of contrasts that name none")
    parser.add_argument("--skip", type=int, default=0, metavar="TOKENS", help="leave out the first columns")
    parser.add_argument("--encoder-text", metavar="TEXT", help="what the encoder of a model such as T5 reads")
    parser.add_argument("--measure", default="probability", help="what colours a picture (default: %(default)s)")


def write(arguments: argparse.Namespace) -> None:
    """What the command does."""
    layers = "all" if arguments.layers == ["all"] else arguments.layers
    with (console.current() or console.Console("lens")).quiet():
        from autocontrastive_gen.inspection.lens_file import write_lens

        seen = write_lens(
            arguments.output,
            arguments.model,
            arguments.text if arguments.text_file is None else _content(arguments.text_file),
            exits=arguments.exits,
            layers=layers,
            contrasts=arguments.contrast,
            lower=arguments.lower,
            skip=arguments.skip,
            encoder_text=arguments.encoder_text,
            measure=arguments.measure,
        )
    log.info("%s written: %d rows, %d tokens", arguments.output, len(seen.rows), len(seen.tokens))


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--text-file: {path} is no readable file of text ({error})") from None


if __name__ == "__main__":
    run(main, "lens")
