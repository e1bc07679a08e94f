"""How every figure of the project is drawn: style, colours, points with intervals, and bytes that never vary."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.gridspec import GridSpec
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from autocontrastive_gen.foundation.files import atomic_path
from autocontrastive_gen.report.results import Results
from autocontrastive_gen.report.table import Number

INK, FAINT = "#1b1f24", "#c8ccd1"
"""Colours of text and of grid lines; the page replaces them with its own, light or dark."""
PLAIN, CONTRAST, OTHER = "#8a6d00", "#0072b2", "#cc4778"
"""Distinguishable with any kind of colour blindness; each also has a marker of its own."""
SERIES = ("#0072b2", "#d55e00", "#009e73", "#c46a9b", "#8a6d00", "#7a5fb5", "#707070")
PAGE_WIDTH = 9.1
"""Inches: the page shows a point of type as a tenth of its own letters, so that a figure fills its column."""
PHONE_WIDTH = 3.8
"""Inches: on a phone, the same type is large enough to read."""
LEGEND_LINE = 0.17
"""Inches that a line of a legend is high."""
MARKERS, LINES = "osD^vPX", ("-", "--", "-.", ":")
_STYLE = {
    "svg.hashsalt": "autocontrastive",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 5.5,
}


@dataclass(frozen=True)
class Figure:
    """A drawn figure: the name of its files, a caption, and a text alternative for readers who cannot see it."""

    name: str
    caption: str
    alt: str
    svg: str
    png: bytes
    narrow: str
    """The svg for a phone: its panels below one another."""

    def write(self, folder: Path) -> None:
        for suffix, content in (("svg", self.svg.encode()), ("png", self.png)):
            with atomic_path(folder / f"{self.name}.{suffix}") as temporary:
                temporary.write_bytes(content)


def style():
    """Context in which everything is drawn in the project's style."""
    return matplotlib.rc_context(_STYLE)


def new_canvas(columns: int, rows: int, share_y: str | bool = False, height: float | None = None):
    """A canvas, ``height`` inches high and as wide as the page, and its axes, an array (rows, columns)."""
    size = (PAGE_WIDTH, height or 2.6 * rows + 0.7)
    canvas = Canvas(figsize=size, layout="constrained")
    canvas.get_layout_engine().set(w_pad=0.08, h_pad=0.06, wspace=0.03)
    return canvas, canvas.subplots(rows, columns, squeeze=False, sharey=share_y)


def add_point(
    axes: Axes, at: float, number: Number, colour: str, marker: str, label: str, across: bool = False
) -> None:
    """Draw a value with its interval, along the x axis if ``across``."""
    error = None
    if number.low is not None and number.high is not None:
        error = [[max(0.0, number.value - number.low)], [max(0.0, number.high - number.value)]]
    style = {"color": colour, "marker": marker, "linestyle": "none", "elinewidth": 1.3, "label": label}
    if across:
        axes.errorbar([number.value], [at], xerr=error, **style)
    else:
        axes.errorbar([at], [number.value], yerr=error, **style)


def add_band(axes: Axes, number: Number, label: str) -> None:
    """Draw a value as a dotted line and its interval as a band across the axes."""
    if number.low is not None and number.high is not None:
        axes.axhspan(number.low, number.high, color=SERIES[2], alpha=0.15, linewidth=0)
    axes.axhline(number.value, color=SERIES[2], linestyle=":", label=label)


def log_scale(axes: Axes) -> None:
    """Make the y axis logarithmic, with ticks at 1, 2 and 5."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def add_legend(canvas: Canvas, axes: Axes) -> None:
    """Draw one legend above the canvas, each label of ``axes`` once."""
    handles = _labelled(axes)
    if handles:
        columns = 4 if max(map(len, handles)) < 16 else 2
        canvas.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=columns)


def _labelled(axes: Axes) -> dict:
    """Each label once, with what it names."""
    return dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))


def finish(canvas: Canvas, name: str, caption: str, alt: str) -> Figure:
    """Lay the canvas out and save it, without dates or versions in its bytes; then once more for a phone."""
    canvas.draw_without_rendering()
    canvas.set_layout_engine("none")  # laid out once for both formats
    png = io.BytesIO()
    svg = _svg(canvas)
    canvas.savefig(png, format="png", dpi=160, facecolor="white", metadata={"Software": None})
    _stack(canvas)
    return Figure(name, caption, alt, svg, png.getvalue(), _svg(canvas))


def _svg(canvas: Canvas) -> str:
    svg = io.StringIO()
    canvas.savefig(svg, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return svg.getvalue()


def _stack(canvas: Canvas) -> None:
    """Put the panels below one another, and the legend above them."""
    panels = canvas.axes
    height = canvas.get_figheight() / panels[0].get_gridspec().nrows * len(panels)
    if canvas.legends:
        canvas.legends[0].remove()
        handles = _labelled(panels[0])
        columns = 2 if max(map(len, handles)) < 16 else 1
        canvas.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=columns)
        height += LEGEND_LINE * math.ceil(len(handles) / columns)
    canvas.set_size_inches(PHONE_WIDTH, height)
    for place, axes in zip(GridSpec(len(panels), 1, figure=canvas), panels, strict=True):
        axes.set_subplotspec(place)
        axes.tick_params(labelleft=True)  # panels side by side share them
    canvas.set_layout_engine("constrained")


def bars(results: Results, unit: str = "documents") -> str:
    """The end of a caption: what bars and bands are."""
    return f"Bars and bands: {results.confidence} bootstrap intervals over {unit}."
