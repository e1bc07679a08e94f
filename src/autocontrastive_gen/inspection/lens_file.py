"""A lens from names to a file: what the command does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.foundation.processes import Processes
from autocontrastive_gen.inspection.layer_measures import check_measure
from autocontrastive_gen.inspection.lens_reading import lens
from autocontrastive_gen.inspection.lens_view import Lens
from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.layers import Exit
from autocontrastive_gen.modeling.tokenizer import load_tokenizer

SUFFIXES = (".html", ".png", ".csv")


def write_lens(
    output: str | Path,
    source: str | Path,
    text: str,
    *,
    exits: str | Path | None = None,
    layers: Sequence[Exit] | str | None = None,
    contrasts: Sequence[str] = (),
    lower: int | None = None,
    skip: int = 0,
    encoder_text: str | None = None,
    measure: str = "probability",
) -> Lens:
    """Load a model, look at a text, and write a page (.html), a picture (.png) or the numbers (.csv).

    Args:
        output: the file to write; its suffix says what.
        source: a folder or a name on the hub.
        text: see ``lens``, as for ``layers``, ``contrasts``, ``lower`` and ``skip``.
        exits: a folder of trained exits; without it, those of the checkpoint, or the model's own head.
        encoder_text: the ``source`` of ``lens``.
        measure: what colours the picture.

    Raises:
        InputError: as ``lens``; or the suffix of ``output`` is another one.
        FileError: a file is missing or unreadable.
    """
    path = Path(output)
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: the name of the file must end in one of {', '.join(SUFFIXES)}")
    check_measure(measure)
    tokenizer = load_tokenizer(source)
    model: Any = AutoMultiExitModel.from_pretrained(source, exits=exits, dtype="auto")
    seen = lens(
        model.to(Processes.start().device),
        tokenizer,
        text,
        layers=layers,
        contrasts=contrasts,
        lower=lower,
        skip=skip,
        source=encoder_text,
    )
    if path.suffix == ".html":
        seen.to_html(path)
    elif path.suffix == ".png":
        seen.to_png(path, measure)
    else:
        seen.to_csv(path)
    return seen
