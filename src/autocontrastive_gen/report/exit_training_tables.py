"""How much training exits need: the table and the figure of ``pipeline/exit_training.py``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.ticker import NullLocator

from autocontrastive_gen.report.columns import MODEL
from autocontrastive_gen.report.drawing import (
    MARKERS,
    PLAIN,
    SERIES,
    Figure,
    add_legend,
    finish,
    new_canvas,
)
from autocontrastive_gen.report.results import Results
from autocontrastive_gen.report.table import Column, Number, Table

FARTHEST = 10
"""An untrained exit whose perplexity is over so many times that of every trained one would flatten their lines."""
TITLES = {"plain": "no contrast", "direct": "direct (untrained)", "cast": "cast", "head": "head of its own"}
_MEASURED = {
    "exit_perplexity": ("Perplexity of the exit", 1),
    "agreement": ("Its agreement with the last layer (0–1)", 3),
    "diversity": ("Diversity (0–1)", 3),
    "coherence": ("Coherence (cosine)", 3),
    "acc": ("Accuracy (0–1)", 3),
}
"""What the columns and axes show, with the digits of the table."""


def exit_training_table(results: Results) -> Table:
    """One row per model, mode and token budget, and first the one without contrast."""
    rows = []
    for model, content in results.exit_training.items():
        where = {"file": results.paths.exit_training(model).as_posix(), "cell": f"analyse@{model}"}
        for row in content["rows"]:
            known = {key: digits for key, (_, digits) in _MEASURED.items() if key in row}
            shown = {key: Number(row[key], digits=digits, **where) for key, digits in known.items()}
            rows.append({"model": model, "mode": TITLES[row["mode"]], "tokens": row.get("tokens"), **shown})
    columns = [MODEL, Column("mode", "Exit", head=True), Column("tokens", "Training tokens", numeric=True)]
    columns += [Column(key, title, numeric=True) for key, (title, _) in _MEASURED.items()]
    notes = [
        f"{model}: the exit at layer {content['layer']}. Its perplexity and agreement are means over domains of "
        "held-out text (geometric for perplexity). Diversity and coherence: greedy search with the last layer "
        f"contrasted with this exit, on {content['prompts']} validation prompts per domain, means over domains. "
        f"Accuracy: the first {content['items']} items of {content['task']}, with the same contrast."
        for model, content in results.exit_training.items()
    ]
    title = "How much training does an exit need?"
    return Table("exit-training", title, columns, rows, " ".join(notes), groups=("model", "mode"))


def exit_training_figure(results: Results, tables: Mapping[str, Table], model: str) -> Iterator[Figure]:
    """Every quantity over the tokens of training, a line per mode; untrained exits and no contrast as level lines."""
    content = results.exit_training.get(model)
    if content is None:
        return
    rows = [row for row in tables["exit-training"].rows if row["model"] == model]
    shown = [key for key in _MEASURED if any(key in row for row in rows)]
    canvas, grid = new_canvas(3, 2)
    for axes in grid.flat[len(shown) :]:
        axes.set_axis_off()
    for axes, key in zip(grid.flat, shown, strict=False):
        _draw(axes, rows, key)
    add_legend(canvas, grid[0][1] if len(shown) < 3 else grid[1][0])
    caption = f"{model}: what training does to the exit at layer {content['layer']}, and to contrast with it."
    for row in _too_far(rows):
        caption += (
            f" The panel of perplexity leaves out the untrained exit of that layer: its {row['exit_perplexity'].text} "
            f"is over {FARTHEST} times that of every trained one."
        )
    yield finish(
        canvas,
        f"exit-training-{model}",
        caption,
        "Lines over training tokens; the numbers are in the table of exits by training.",
    )


def _too_far(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The untrained exits that are not drawn among the perplexities; none if there are no trained ones to flatten."""
    known = [row for row in rows if "exit_perplexity" in row]
    trained = [row["exit_perplexity"].value for row in known if row["tokens"]]
    bound = FARTHEST * max(trained, default=math.inf)
    return [row for row in known if not row["tokens"] and row["exit_perplexity"].value > bound]


def _draw(axes, rows: Sequence[Mapping[str, Any]], key: str) -> None:
    budgets = sorted({row["tokens"] for row in rows if row["tokens"]})
    left_out = _too_far(rows) if key == "exit_perplexity" else []
    for i, mode in enumerate(dict.fromkeys(row["mode"] for row in rows)):
        drawn = [row for row in rows if row["mode"] == mode and key in row and row not in left_out]
        points = [(row["tokens"], row[key].value) for row in drawn]
        if any(tokens for tokens, _ in points):
            axes.plot(*zip(*points, strict=True), color=SERIES[i], marker=MARKERS[i], label=mode)
        elif points:
            axes.axhline(points[0][1], color=PLAIN if mode == TITLES["plain"] else SERIES[i], ls="--", label=mode)
    axes.set_xscale("log")
    axes.set_xticks(budgets, [f"{tokens / 1000:.3g}k" for tokens in budgets])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("Training tokens")
    axes.set_ylabel(_MEASURED[key][0])
