"""The figures of a report, as svg and png whose bytes depend on the results alone."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from autocontrastive_gen.experiment.settings import DECODES
from autocontrastive_gen.foundation import statistics
from autocontrastive_gen.foundation.digests import seed_for
from autocontrastive_gen.foundation.files import atomic_path
from autocontrastive_gen.report.results import HUMAN, Results
from autocontrastive_gen.report.table import Number, Table
from autocontrastive_gen.report.tables import ACCURACIES

INK, FAINT = "#1b1f24", "#c8ccd1"
"""Colours of text and of grid lines; the page replaces them by its own, light or dark."""
PLAIN, CONTRAST, OTHER = "#8a6d00", "#0072b2", "#cc4778"
"""Distinguishable with any kind of colour blindness, and each with a marker of its own besides."""
SERIES = ("#0072b2", "#d55e00", "#009e73", "#c46a9b", "#8a6d00", "#7a5fb5", "#707070")
MARKERS, LINES = "osD^vPX", ("-", "--", "-.", ":")
_AXES = {"diversity": "Diversity (0–1)", "coherence": "Coherence (cosine)"}
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
    """A drawn figure: ``name`` of its files, a caption, and what it shows in words for who cannot see it."""

    name: str
    caption: str
    alt: str
    svg: str
    png: bytes

    def write(self, folder: Path) -> None:
        for suffix, content in (("svg", self.svg.encode()), ("png", self.png)):
            with atomic_path(folder / f"{self.name}.{suffix}") as temporary:
                temporary.write_bytes(content)


def all_figures(results: Results, tables: dict[str, Table]) -> list[Figure]:
    """Every figure that this run has the results for, in the order in which a reader wants them."""
    with matplotlib.rc_context(_STYLE):
        drawn = [
            figure
            for model in results.models
            for draw in (_quality, _lower_layer, _exits, _benchmarks, _curves)
            for figure in draw(results, tables, model)
        ]
    return drawn


def cost_figure(cost: dict[str, Any]) -> Figure | None:
    """Time by stage, of ``cost.summarise``; None if no cost was recorded. Its bytes differ from run to run."""
    rows = cost["stages"]
    if not rows:
        return None
    with matplotlib.rc_context(_STYLE):
        canvas, grid = _canvas(1, 1, height=1.2 + 0.34 * len(rows))
        axes = grid[0][0]
        for shift, key, label, colour in ((-0.19, "wall_s", "wall", CONTRAST), (0.19, "cpu_s", "CPU", PLAIN)):
            times = [row[key] / 60 for row in rows]
            axes.barh([y + shift for y in range(len(rows))], times, height=0.34, color=colour, label=label)
        axes.set_yticks(range(len(rows)), [row["stage"] for row in rows])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("Time (minutes)")
        _legend(canvas, axes)
        caption = "Time by stage, sums over its cells as each last ran."
        return _figure(canvas, "cost", caption, "Bars by stage; the numbers are in the table of costs.")


def _quality(results: Results, tables: dict[str, Table], model: str) -> Iterator[Figure]:
    """Diversity and coherence by decoding and domain, plain beside contrast, humans as a band."""
    rows = {
        (row["domain"], row["setting"]): row
        for row in tables["quality"].rows
        if row["model"] == model and "status" not in row
    }
    if not rows:
        return
    titles = [entry["title"] for entry in results.domains.values()]
    canvas, grid = _canvas(len(titles), 2, share_y="row")
    decodes = [d for d in DECODES if any(s.decode == d for s in results.settings)]
    for i, metric in enumerate(("diversity", "coherence")):
        for axes, title in zip(grid[i], titles, strict=True):
            if (human := rows.get((title, HUMAN))) and metric in human:
                _band(axes, human[metric], "human")
            for x, decode in enumerate(decodes):
                for shift, name, label, colour, marker in (
                    (-0.12, decode, "plain", PLAIN, "o"),
                    (0.12, f"{decode}-acd", "contrast", CONTRAST, "D"),
                ):
                    if (row := rows.get((title, name))) and metric in row:
                        _point(axes, x + shift, row[metric], colour, marker, label)
            axes.set_xticks(range(len(decodes)), decodes if i else [""] * len(decodes))
            axes.set_xlim(-0.5, len(decodes) - 0.5)
            axes.grid(axis="x", visible=False)
            axes.set_title(title if i == 0 else "")
        grid[i][0].set_ylabel(_AXES[metric])
    _legend(canvas, grid[0][0])
    yield _figure(
        canvas,
        f"quality-{model}",
        f"{model}: diversity and coherence of text by way of decoding, plain and with contrast. {_bars(results)}",
        "Points by way of decoding, one panel a domain; the numbers are in the table of generation quality.",
    )


def _lower_layer(results: Results, tables: dict[str, Table], model: str) -> Iterator[Figure]:
    """Diversity and coherence of greedy search by lower layer, on validation and on reported prompts."""
    rows = [row for row in tables["selection"].rows if row["model"] == model]
    candidates = sorted((int(row["lower"]), row) for row in rows if row["lower"].isdigit())
    reported = _reported_layers(results, model)
    if not candidates and len(reported) < 2:
        return
    canvas, grid = _canvas(2, 1)
    for axes, metric in zip(grid[0], ("diversity", "coherence"), strict=True):
        if candidates:
            layers = [layer for layer, _ in candidates]
            values = [row[metric].value for _, row in candidates]
            axes.plot(layers, values, color=CONTRAST, marker="D", label="contrast, validation prompts")
            plain = next(row[metric].value for row in rows if not row["lower"].isdigit())
            axes.axhline(plain, color=PLAIN, linestyle="--", label="no contrast, validation prompts")
            for layer, row in candidates:
                if row["chosen"]:
                    axes.plot([layer], [row[metric].value], "o", ms=12, mfc="none", mec=OTHER, label="chosen")
        for layer, scores in reported.items():
            _point(axes, layer, scores[metric], SERIES[2], "s", "contrast, reported prompts")
        if without := _reported(results, model, "greedy"):
            _band(axes, without[metric], "no contrast, reported prompts")
        axes.set_xlabel("Lower layer")
        axes.set_xticks(sorted({layer for layer, _ in candidates} | set(reported)))
        axes.set_ylabel(_AXES[metric])
    _legend(canvas, grid[0][0])
    yield _figure(
        canvas,
        f"lower-layer-{model}",
        f"{model}: what the lower layer of the contrast does to greedy search. Validation prompts: means over domains; "
        f"reported prompts: all domains pooled. {_bars(results)}",
        "Two lines over layers; the numbers are in the table on the choice of the lower layer.",
    )


def _reported_layers(results: Results, model: str) -> dict[int, dict[str, Number]]:
    """{lower layer: scores} of the greedy contrast settings that were run."""
    found = {}
    for setting in results.settings:
        if setting.decode == "greedy" and setting.contrast and setting.exit is None:
            lower, scores = results.resolved(model, setting.name).get("lower"), _reported(results, model, setting.name)
            if lower is not None and scores:
                found[lower] = scores
    return found


def _reported(results: Results, model: str, setting: str) -> dict[str, Number]:
    """Diversity and coherence over the documents of all domains, with intervals; empty if the setting was not run."""
    found = {}
    for metric, statistic in (("diversity", statistics.pooled_product), ("coherence", statistics.mean)):
        values = results.values(model, setting, metric).to_numpy(dtype=float)
        if not len(values):
            return {}
        seed = seed_for(results.plan["seed"], "layer", model, setting, metric)
        found[metric] = Number.of(statistics.interval(values, statistic, seed=seed, **results.plan["bootstrap"]))
    return found


def _exits(results: Results, tables: dict[str, Table], model: str) -> Iterator[Figure]:
    """Perplexity and agreement of the exits by layer and domain; the original head as a dashed line."""
    domains = results.exits.get(model, {})
    if not domains:
        return
    rows = [row for row in tables["exits"].rows if row["model"] == model]
    canvas, grid = _canvas(2, 1)
    for axes, metric in zip(grid[0], ("perplexity", "agreement"), strict=True):
        for i, domain in enumerate(name for name in results.domains if name in domains):
            title, layers = results.domains[domain]["title"], domains[domain]
            points = sorted(
                (row["depth"], row[metric]) for row in rows if row["domain"] == title and row["layer"] != "original"
            )
            axes.plot([layer for layer, _ in points], [value.value for _, value in points], color=SERIES[i % 7])
            for layer, value in points:
                _point(axes, layer, value, SERIES[i % 7], MARKERS[i % 7], title)
            if metric == "perplexity" and "original" in layers:
                axes.axhline(
                    layers["original"][metric], color=SERIES[i % 7], ls="--", lw=1, label=f"{title}, last layer"
                )
        axes.set_xlabel("Layer of the exit")
        axes.set_xticks([layer for layer, _ in points])
    tokens = " or ".join(sorted({f"{entry['tokens']:,}" for layers in domains.values() for entry in layers.values()}))
    _log_scale(grid[0][0])
    grid[0][0].set_ylabel("Perplexity (log scale)")
    grid[0][1].set_ylabel("Agreement (0–1)")
    _legend(canvas, grid[0][0])
    yield _figure(
        canvas,
        f"exits-{model}",
        f"{model}: each exit by itself on {tokens} tokens of held-out text a domain. Bars: "
        f"{results.confidence} intervals over blocks of text.",
        "Lines over layers: perplexity falls and agreement rises towards the last layer if the exits are good; the "
        "numbers are in the table of exits.",
    )


def _benchmarks(results: Results, tables: dict[str, Table], model: str) -> Iterator[Figure]:
    """Accuracies by task and setting, with intervals."""
    rows = [r for r in tables["benchmark"].rows if r["model"] == model and r.get("metric") in ACCURACIES]
    if not rows:
        return
    labels = list(dict.fromkeys((row["task"], row["metric"]) for row in rows))
    settings = [name for name in results.plan["benchmark_settings"] if any(row["setting"] == name for row in rows)]
    canvas, grid = _canvas(1, 1, height=1.2 + 0.5 * len(labels))
    axes = grid[0][0]
    for i, setting in enumerate(settings):
        shift = (i - (len(settings) - 1) / 2) * 0.5 / max(1, len(settings) - 1)
        for row in rows:
            if row["setting"] == setting:
                y = labels.index((row["task"], row["metric"])) + shift
                _point(axes, y, row["score"], SERIES[i % 7], MARKERS[i % 7], setting, across=True)
    axes.set_yticks(range(len(labels)), [f"{task} ({metric})" for task, metric in labels])
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("Accuracy (0–1)")
    _legend(canvas, axes)
    yield _figure(
        canvas,
        f"benchmark-{model}",
        f"{model}: accuracy by task and setting. {_bars(results, 'items')}",
        "Points by task; the numbers are in the table of benchmarks.",
    )


def _curves(results: Results, tables: dict[str, Table], model: str) -> Iterator[Figure]:
    """Training loss and validation perplexity of each exit over tokens."""
    if model not in results.curves:
        return
    table = results.curves[model]
    canvas, grid = _canvas(2, 1)
    titles = {"loss": "Training loss (nats)", "validation_perplexity": "Validation perplexity (log scale)"}
    for axes, (column, title) in zip(grid[0], titles.items(), strict=True):
        for i, (layer, part) in enumerate(table.groupby("layer", sort=False)):
            part = part.dropna(subset=[column])
            axes.plot(
                part["tokens"] / 1000,
                part[column],
                color=SERIES[i % 7],
                marker=MARKERS[i % 7] if len(part) < 12 else None,
                linestyle=LINES[i % 4],
                label=f"exit {layer}",
            )
        axes.set_xlabel("Training tokens (thousands)")
        axes.set_ylabel(title)
    if (table["validation_perplexity"] > 0).any():
        _log_scale(grid[0][1])
    _legend(canvas, grid[0][0])
    yield _figure(
        canvas,
        f"training-{model}",
        f"{model}: training of the exits.",
        "Falling lines, one an exit; the numbers are in the curve of the train stage.",
    )


def _canvas(columns: int, rows: int, share_y: str | bool = False, height: float | None = None):
    canvas = Canvas(figsize=(max(5.2, 3.2 * columns), height or 2.4 * rows + 0.7), layout="constrained")
    canvas.get_layout_engine().set(w_pad=0.08, h_pad=0.06, wspace=0.03)
    return canvas, canvas.subplots(rows, columns, squeeze=False, sharey=share_y)


def _point(axes: Axes, at: float, number: Number, colour: str, marker: str, label: str, across: bool = False) -> None:
    """A value with its interval; ``across``: along the x axis."""
    error = None
    if number.low is not None and number.high is not None:
        error = [[max(0.0, number.value - number.low)], [max(0.0, number.high - number.value)]]
    style = {"color": colour, "marker": marker, "linestyle": "none", "elinewidth": 1.3, "label": label}
    if across:
        axes.errorbar([number.value], [at], xerr=error, **style)
    else:
        axes.errorbar([at], [number.value], yerr=error, **style)


def _band(axes: Axes, number: Number, label: str) -> None:
    if number.low is not None and number.high is not None:
        axes.axhspan(number.low, number.high, color=SERIES[2], alpha=0.15, linewidth=0)
    axes.axhline(number.value, color=SERIES[2], linestyle=":", label=label)


def _bars(results: Results, unit: str = "documents") -> str:
    return f"Bars and bands: {results.confidence} bootstrap intervals over {unit}."


def _log_scale(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _legend(canvas: Canvas, axes: Axes) -> None:
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    if handles:
        columns = 4 if max(map(len, handles)) < 16 else 2
        canvas.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=columns)


def _figure(canvas: Canvas, name: str, caption: str, alt: str) -> Figure:
    canvas.draw_without_rendering()
    canvas.set_layout_engine("none")  # laid out once, not again for each format
    svg, png = io.StringIO(), io.BytesIO()
    canvas.savefig(svg, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    canvas.savefig(png, format="png", dpi=160, facecolor="white", metadata={"Software": None})
    return Figure(name, caption, alt, svg.getvalue(), png.getvalue())
