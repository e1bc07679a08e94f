"""The figures of a report, as svg and png whose bytes depend on the results alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from autocontrastive_gen.evaluation.metrics import exit_metrics, item_metric, text_metrics
from autocontrastive_gen.report.choice_tables import by_layer
from autocontrastive_gen.report.drawing import (
    CONTRAST,
    LINES,
    MARKERS,
    OTHER,
    PLAIN,
    SERIES,
    Figure,
    add_band,
    add_legend,
    add_point,
    bars,
    finish,
    log_scale,
    new_canvas,
    style,
)
from autocontrastive_gen.report.exit_training_tables import exit_training_figure
from autocontrastive_gen.report.results import Results
from autocontrastive_gen.report.table import Number, Table
from autocontrastive_gen.report.text_figures import plane_figures, quality_figures

SHORTEST = 3
"""Points of a curve that is worth drawing; the file has the others."""


def all_figures(results: Results, tables: dict[str, Table]) -> list[Figure]:
    """Every figure that this run has results for, in reading order."""
    with style():
        drawn = [figure for model in results.models for draw in DRAWN for figure in draw(results, tables, model)]
    return drawn


def cost_figure(cost: dict[str, Any]) -> Figure | None:
    """Time by stage, from ``cost_summary.summarise``; None if none was recorded. Its bytes differ from run to run."""
    rows = cost["stages"]
    if not rows:
        return None
    with style():
        canvas, grid = new_canvas(1, 1, height=1.2 + 0.34 * len(rows))
        axes = grid[0][0]
        for shift, key, label, colour in ((-0.19, "wall_s", "wall", CONTRAST), (0.19, "cpu_s", "CPU", PLAIN)):
            times = [row[key] / 60 for row in rows]
            axes.barh([y + shift for y in range(len(rows))], times, height=0.34, color=colour, label=label)
        axes.set_yticks(range(len(rows)), [row["stage"] for row in rows])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("Time (minutes)")
        add_legend(canvas, axes)
        caption = "Time by stage: sums over its cells, each as of its last run."
        return finish(canvas, "cost", caption, "Bars by stage; the numbers are in the table of costs.")


def _lower_layer(results: Results, tables: dict[str, Table], model: str) -> Iterator[Figure]:
    """Diversity and coherence of greedy search by lower layer, on validation and on reported prompts."""
    measured = by_layer(results, model)
    candidates = sorted((int(layer), each) for layer, each in measured.items() if layer != "plain")
    reported = _reported_layers(results, model)
    if not candidates and len(reported) < 2:
        return
    canvas, grid = new_canvas(2, 1)
    for axes, metric in zip(grid[0], ("diversity", "coherence"), strict=True):
        if candidates:
            layers = [layer for layer, _ in candidates]
            values = [each[metric] for _, each in candidates]
            axes.plot(layers, values, color=CONTRAST, marker="D", label="contrast, validation prompts")
            plain = measured["plain"][metric]
            axes.axhline(plain, color=PLAIN, linestyle="--", label="no contrast, validation prompts")
            for layer, each in candidates:
                if each["chosen"]:
                    axes.plot([layer], [each[metric]], "o", ms=12, mfc="none", mec=OTHER, label="chosen")
        for layer, scores in reported.items():
            add_point(axes, layer, scores[metric], SERIES[2], "s", "contrast, reported prompts")
        if without := _reported(results, model, "greedy"):
            add_band(axes, without[metric], "no contrast, reported prompts")
        axes.set_xlabel("Lower layer")
        axes.set_xticks(sorted({layer for layer, _ in candidates} | set(reported)))
        axes.set_ylabel(text_metrics()[metric].axis)
    add_legend(canvas, grid[0][0])
    yield finish(
        canvas,
        f"lower-layer-{model}",
        f"{model}: the effect of the lower layer on greedy search with contrast. Validation prompts: means over "
        f"domains; reported prompts: all domains pooled. {bars(results)}",
        "Lines over layers; the numbers are in the table of what was chosen.",
    )


def _reported_layers(results: Results, model: str) -> dict[int, dict[str, Number]]:
    """{lower layer: scores} of the settings with greedy search and contrast that were run."""
    found = {}
    for setting in results.settings:
        if setting.decoder == "greedy" and setting.contrast and setting.exit is None:
            lower, scores = results.resolved(model, setting.name).get("lower"), _reported(results, model, setting.name)
            if lower is not None and scores:
                found[lower] = scores
    return found


def _reported(results: Results, model: str, setting: str) -> dict[str, Number]:
    """Diversity and coherence over the prompts of all domains, with intervals; empty if the setting was not run."""
    found = results.pooled(model, setting)
    return {metric: Number.of(found[metric]) for metric in ("diversity", "coherence") if metric in found}


def _exits(results: Results, tables: dict[str, Table], model: str) -> Iterator[Figure]:
    """Headline qualities of the exits by layer and domain; the original head as a dashed line."""
    domains = results.exits.get(model, {})
    if not domains:
        return
    rows = [row for row in tables["exits"].rows if row["model"] == model]
    metrics = [metric for metric in exit_metrics().values() if metric.headline]
    canvas, grid = new_canvas(len(metrics), 1)
    for axes, metric in zip(grid[0], metrics, strict=True):
        for i, domain in enumerate(name for name in results.domains if name in domains):
            title, layers = results.domains[domain]["title"], domains[domain]
            points = sorted(
                (row["depth"], row[metric.key]) for row in rows if row["domain"] == title and row["layer"] != "original"
            )
            axes.plot([layer for layer, _ in points], [value.value for _, value in points], color=SERIES[i % 7])
            for layer, value in points:
                add_point(axes, layer, value, SERIES[i % 7], MARKERS[i % 7], title)
            if metric.log and "original" in layers:
                axes.axhline(
                    layers["original"][metric.key], color=SERIES[i % 7], ls="--", lw=1, label=f"{title}, last layer"
                )
        if metric.log:
            log_scale(axes)
        axes.set_xlabel("Layer of the exit")
        axes.set_xticks([layer for layer, _ in points])
        axes.set_ylabel(metric.axis)
    tokens = " or ".join(sorted({f"{entry['tokens']:,}" for layers in domains.values() for entry in layers.values()}))
    add_legend(canvas, grid[0][0])
    yield finish(
        canvas,
        f"exits-{model}",
        f"{model}: each exit on its own, on {tokens} tokens of held-out text per domain. Bars: "
        f"{results.confidence} intervals over blocks of text.",
        "Lines over layers: towards the last layer, the perplexity of good exits falls and their agreement rises; the "
        "numbers are in the table of exits.",
    )


def _gains_by_exit(results: Results, tables: dict[str, Table], model: str) -> Iterator[Figure]:
    """The gain of contrast with each exit over that exit's own accuracy, for items with one answer."""
    rows = [row for row in tables["gain-sources"].rows if row["model"] == model] if "gain-sources" in tables else []
    if not rows:
        return
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    canvas, grid = new_canvas(len(tasks), 1)
    for axes, task in zip(grid[0], tasks, strict=True):
        for row in (row for row in rows if row["task"] == task):
            for key, colour, marker, label in (
                ("gain", CONTRAST, "D", "all tokens allowed"),
                ("filtered_gain", PLAIN, "o", "no stop words on either side"),
            ):
                add_point(axes, row["exit"].value, row[key], colour, marker, label)
            axes.annotate(str(row["layer"]), (row["exit"].value, row["gain"].value), (5, 5), textcoords="offset points")
        axes.axhline(0, color=OTHER, lw=1)
        axes.set_xlabel(f"Accuracy of the exit alone, {task} (0–1)")
        axes.set_ylabel("Gain in accuracy")
    add_legend(canvas, grid[0][0])
    yield finish(
        canvas,
        f"gain-sources-{model}",
        f"{model}: what contrast with each exit gains, by how good that exit is on its own; the numbers beside the "
        f"points are layers. {bars(results, 'items')}",
        "Points by exit; the numbers are in the table of the gain's sources.",
    )


def _benchmarks(results: Results, tables: dict[str, Table], model: str) -> Iterator[Figure]:
    """Accuracies by task and setting, with intervals."""
    rows = [r for r in tables["benchmark"].rows if r["model"] == model and "score" in r]
    rows = [row for row in rows if item_metric(row["metric"]).headline]
    if not rows:
        return
    labels = list(dict.fromkeys((row["task"], row["metric"]) for row in rows))
    settings = [name for name in results.plan["benchmark_settings"] if any(row["setting"] == name for row in rows)]
    canvas, grid = new_canvas(1, 1, height=1.2 + 0.5 * len(labels))
    axes = grid[0][0]
    for i, setting in enumerate(settings):
        shift = (i - (len(settings) - 1) / 2) * 0.5 / max(1, len(settings) - 1)
        for row in rows:
            if row["setting"] == setting:
                y = labels.index((row["task"], row["metric"])) + shift
                add_point(axes, y, row["score"], SERIES[i % 7], MARKERS[i % 7], setting, across=True)
    axes.set_yticks(range(len(labels)), [f"{task} ({metric})" for task, metric in labels])
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("Accuracy (0–1)")
    add_legend(canvas, axes)
    yield finish(
        canvas,
        f"benchmark-{model}",
        f"{model}: accuracy by task and setting. {bars(results, 'items')}",
        "Points by task; the numbers are in the table of benchmarks.",
    )


def _curves(results: Results, tables: dict[str, Table], model: str) -> Iterator[Figure]:
    """Training loss and validation perplexity of each exit over tokens, each if it was measured often enough."""
    table = results.curves.get(model)
    if table is None:
        return
    titles = {"loss": "Training loss (nats)", "validation_perplexity": "Validation perplexity (log scale)"}
    drawn = [column for column in titles if table.groupby("layer")[column].count().max() >= SHORTEST]
    if not drawn:
        return
    canvas, grid = new_canvas(len(drawn), 1)
    for axes, column in zip(grid[0], drawn, strict=True):
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
        axes.set_ylabel(titles[column])
        if column == "validation_perplexity":
            log_scale(axes)
    add_legend(canvas, grid[0][0])
    yield finish(
        canvas,
        f"training-{model}",
        f"{model}: training of the exits.",
        "One line per exit; the numbers are in tables/training.csv.",
    )


DRAWN = (
    plane_figures,
    quality_figures,
    _lower_layer,
    _exits,
    exit_training_figure,
    _gains_by_exit,
    _benchmarks,
    _curves,
)
"""What draws a model's figures, in reading order."""
