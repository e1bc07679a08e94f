"""A lens as a picture: a cell per layer and position, with the first choice in it."""

from __future__ import annotations

import io
import math
import warnings
from typing import TYPE_CHECKING

import numpy as np

from autocontrastive_gen.inspection.layer_measures import MEASURES
from autocontrastive_gen.inspection.lens_page import visible

if TYPE_CHECKING:
    from autocontrastive_gen.inspection.lens_view import Lens

CELL = (0.62, 0.24)
"""Width and height of a cell in inches."""
LONGEST = 8
"""Characters shown of a token."""
COLOURS = ("#ffffff", "#cfe3f5", "#5b9bd5", "#12477d")


def drawn(lens: Lens, measure: str, dpi: int) -> bytes:
    """The picture as a png."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize
    from matplotlib.figure import Figure

    column, declared = next((i, each) for i, each in enumerate(MEASURES) if each.key == measure)
    values = np.stack([row.numbers[:, column] for row in lens.rows]).astype(float)
    finite = values[np.isfinite(values)]
    top = max(finite.max(initial=0.0), 1e-9)
    ends = {"probability": 1.0, "js_to_last": math.log(2)}
    norm = LogNorm(1, max(top, 2.0)) if measure == "rank" else Normalize(0, ends.get(measure, top))
    shown = np.where(np.isposinf(values), top, values)
    width, height = 1.6 + CELL[0] * len(lens.tokens), 1.5 + CELL[1] * len(lens.rows)
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    colours = LinearSegmentedColormap.from_list("lens", COLOURS)
    image = axes.imshow(shown, cmap=colours, norm=norm, aspect="auto")
    ink = _inks(image)
    for y, row in enumerate(lens.rows):
        for x, token in enumerate(row.top_ids[:, 0].tolist()):
            came = x + 1 < len(lens.token_ids) and token == lens.token_ids[x + 1]
            axes.text(
                x, y, _short(lens.words[token]), color=ink[y, x], size=6.5, ha="center", va="center",
                weight="bold" if came else "normal", parse_math=False,
            )  # fmt: skip
    axes.set_yticks(range(len(lens.rows)), [row.label for row in lens.rows], size=7)
    axes.set_xticks(range(len(lens.tokens)), [_short(token) for token in lens.tokens], size=7, rotation=45)
    for label in axes.get_xticklabels():
        label.set_parse_math(False)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, label=f"{declared.title} ({declared.unit})", fraction=0.02, pad=0.01)
    figure.suptitle(lens.title, size=9, parse_math=False)
    content = io.BytesIO()
    FigureCanvasAgg(figure)
    with warnings.catch_warnings():  # what the font lacks is drawn as a box
        warnings.filterwarnings("ignore", "Glyph")
        figure.savefig(content, format="png", dpi=dpi, metadata={"Software": None})
    return content.getvalue()


def _inks(image) -> np.ndarray:
    """Black or white for each cell, whichever is easier to read on its colour."""
    colours = image.cmap(image.norm(image.get_array()))[..., :3]
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    return np.where(linear @ [0.2126, 0.7152, 0.0722] > 0.179, "black", "white")


def _short(token: str) -> str:
    text = visible(token)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
