"""Figures of generated texts: all settings on the plane of diversity and coherence, and each metric by setting."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.axes import Axes

from autocontrastive_gen.evaluation.metrics import HUMAN, text_metrics
from autocontrastive_gen.report.drawing import INK, MARKERS, SERIES, Figure, add_point, bars, finish, new_canvas
from autocontrastive_gen.report.overview_tables import PLANE
from autocontrastive_gen.report.results import Results
from autocontrastive_gen.report.table import Number, Table


def plane_figures(results: Results, tables: dict[str, Table], model: str) -> Iterator[Figure]:
    """Diversity against coherence, a point per setting over all prompts together, with the Pareto front."""
    rows = [row for row in tables["overview"].rows if row["model"] == model and set(PLANE) <= row.keys()]
    if not rows:
        return
    canvas, grid = new_canvas(1, 1, height=max(4.4, 0.6 + 0.24 * len(rows)))
    axes = grid[0][0]
    front = sorted((row for row in rows if row.get("front")), key=lambda row: row[PLANE[0]].value)
    corners = [tuple(row[key].value for key in PLANE) for row in front]
    if corners:
        axes.plot(*zip(*corners, strict=True), color=INK, linestyle=":", linewidth=1, zorder=1, label="Pareto front")
    for row in rows:
        colour, marker = _look(results, row["setting"])
        label = f"{row['setting']} (front)" if row.get("front") else row["setting"]
        _add_cross(axes, *(row[key] for key in PLANE), colour, marker, label)
    axes.set_xlabel(text_metrics()[PLANE[0]].axis)
    axes.set_ylabel(text_metrics()[PLANE[1]].axis)
    canvas.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    yield finish(
        canvas,
        f"plane-{model}",
        f"{model}: diversity against coherence of every setting, all prompts together; better is up and to the right. "
        f"Colours: decoders; markers: contrasts. Dotted: the Pareto front. {bars(results)}",
        f"Points on a plane. On the Pareto front: {', '.join(row['setting'] for row in front)}; the numbers are in the "
        "table of all settings.",
    )


def quality_figures(results: Results, tables: dict[str, Table], model: str) -> Iterator[Figure]:
    """Headline metrics by setting, one panel per domain and metric, human text as a band."""
    rows = {
        (row["domain"], row["setting"]): row
        for row in tables["quality"].rows
        if row["model"] == model and "status" not in row
    }
    if not rows:
        return
    titles = [entry["title"] for entry in results.domains.values()]
    metrics = [m for m in text_metrics().values() if m.headline and any(m.key in row for row in rows.values())]
    names = [row["setting"] for row in tables["overview"].rows if row["model"] == model and row["setting"] != HUMAN]
    canvas, grid = new_canvas(len(metrics), len(titles), share_y=True, height=len(titles) * (0.6 + 0.2 * len(names)))
    for panels, title in zip(grid, titles, strict=True):
        for axes, metric in zip(panels, metrics, strict=True):
            if (human := rows.get((title, HUMAN))) and metric.key in human:
                _add_upright_band(axes, human[metric.key])
            for y, name in enumerate(names):
                if (row := rows.get((title, name))) and metric.key in row:
                    add_point(axes, y, row[metric.key], *_look(results, name), name, across=True)
            axes.set_yticks(range(len(names)), names)
            axes.set_ylim(len(names) - 0.5, -0.5)
            axes.set_title(title)
            axes.set_xlabel(metric.axis)
    words = [metric.title.lower() for metric in metrics]
    listed = f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]
    yield finish(
        canvas,
        f"quality-{model}",
        f"{model}: {listed} of text by setting and domain. Green: human text. {bars(results)}",
        "Points by setting, one panel per domain and metric; the numbers are in the table of generation quality.",
    )


def _look(results: Results, name: str) -> tuple[str, str]:
    """Colour of the decoder and marker of the contrast."""
    if name == HUMAN:
        return INK, "*"
    setting = next(setting for setting in results.settings if setting.name == name)
    used = [None, *dict.fromkeys((s.contrast, s.lower) for s in results.settings if s.contrast)]
    contrast = used.index((setting.contrast, setting.lower)) if setting.contrast else 0
    return SERIES[results.decoders.index(setting.decoder) % len(SERIES)], MARKERS[contrast % len(MARKERS)]


def _add_cross(axes: Axes, x: Number, y: Number, colour: str, marker: str, label: str) -> None:
    """A value with its intervals on both axes."""
    errors = {
        key: [[max(0.0, it.value - it.low)], [max(0.0, it.high - it.value)]]
        for key, it in (("xerr", x), ("yerr", y))
        if it.low is not None and it.high is not None
    }
    style = {"color": colour, "marker": marker, "linestyle": "none", "elinewidth": 0.8, "label": label}
    axes.errorbar([x.value], [y.value], **errors, **style)


def _add_upright_band(axes: Axes, number: Number) -> None:
    if number.low is not None and number.high is not None:
        axes.axvspan(number.low, number.high, color=SERIES[2], alpha=0.15, linewidth=0)
    axes.axvline(number.value, color=SERIES[2], linestyle=":")
