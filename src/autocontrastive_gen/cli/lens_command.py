"""``acd lens``: what every layer of a model would say next along a text, as a page, a picture or a table."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from autocontrastive_gen.foundation import console
from autocontrastive_gen.foundation.command_line import command, given_text, pipeline_packages
from autocontrastive_gen.foundation.errors import InputError

log = logging.getLogger(__name__)

CONTRASTS = "contrasts to show, such as acd, dola or, with a lower layer, acd12"
LAYERS = "layers to show, numbers or all; by default those with an exit, and all of a model without exits"


def lens(
    model: Annotated[str, typer.Option(help="a folder or a name on the hub")],
    output: Annotated[Path, typer.Option(help="lens.html, lens.png or lens.csv", metavar="FILE")],
    text: Annotated[str | None, typer.Option(help="the text that the model reads; - is standard input")] = None,
    text_file: Annotated[Path | None, typer.Option(help="a file that holds the text", metavar="FILE")] = None,
    exits: Annotated[
        str | None,
        typer.Option(help="trained exits, a folder or a name on the hub; by default those of the model, if any"),
    ] = None,
    contrast: Annotated[list[str], typer.Option(help=CONTRASTS, metavar="NAME...")] = [],  # noqa: B006
    layers: Annotated[list[str], typer.Option(help=LAYERS, metavar="LAYER...")] = [],  # noqa: B006
    lower: Annotated[
        int | None, typer.Option(help="the lower layer of contrasts that name none", metavar="LAYER")
    ] = None,
    skip: Annotated[int, typer.Option(min=0, help="leave out the first columns", metavar="TOKENS")] = 0,
    encoder_text: Annotated[
        str | None, typer.Option(help="what the encoder of a model such as T5 reads", metavar="TEXT")
    ] = None,
    measure: Annotated[str, typer.Option(help="what colours a picture")] = "probability",
) -> None:
    """See what every layer of a model would say next along a text, as a page, a picture or a table.

    A row is a layer, a column a position of the text, and a cell holds the token that the layer would say next. Below
    the layers is a row for each contrast. Layers without a trained exit are read by the model's own head.

    Examples:

        acd lens --model gpt2 --text "The museum was founded in" --output lens.html
        acd lens --model gpt2 --text-file story.txt --contrast acd9 dola --layers 6 9 11 --output lens.png
    """
    if (text is None) == (text_file is None):
        raise InputError("give either --text or --text-file")
    if output.is_dir():
        raise InputError(f"--output {output}: is a folder; name a file, such as {output / 'lens.html'}")
    content = _content(text_file) if text is None else given_text("--text", text)
    with (console.current() or console.Console("lens")).quiet(), pipeline_packages("acd lens"):
        from autocontrastive_gen.inspection.lens_file import write_lens

        seen = write_lens(
            output,
            model,
            content,
            exits=exits,
            layers="all" if layers == ["all"] else layers or None,
            contrasts=contrast,
            lower=lower,
            skip=skip,
            encoder_text=encoder_text,
            measure=measure,
        )
    log.info("%s written: %d rows, %d tokens", output, len(seen.rows), len(seen.tokens))


def _content(path: Path | None) -> str:
    try:
        return Path(path or "").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--text-file: {path} is no readable file of text ({error})") from None


app = command(lens, "lens")
