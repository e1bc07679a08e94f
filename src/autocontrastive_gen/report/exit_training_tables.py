"""How much training exits need: the table and the figure of ``pipeline/exit_training.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from autocontrastive_gen.report.drawing import (
    MARKERS,
    PLAIN,
    SERIES,
    Figure,
    add_legend,
    finish,
    log_scale,
    new_canvas,
    style,
)
from autocontrastive_gen.report.table import Column, Number, Table

TITLES = {"plain": "no contrast", "direct": "direct (untrained)", "cast": "cast", "head": "head of its own"}
_MEASURED = {
    "exit_perplexity": ("Perplexity of the exit", 1),
    "agreement": ("Its agreement with the last layer (0–1)", 3),
    "diversity": ("Diversity (0–1)", 3),
    "coherence": ("Coherence (cosine)", 3),
    "acc": ("Accuracy (0–1)", 3),
}
"""What the columns and axes show, with the digits of the table."""


class Study(Protocol):
    """What the table and the figure say of how a study was measured."""

    model: str
    layer: int
    task: str
    prompts: int
    items: int


def training_budget_table(study: Study, rows: Sequence[Mapping[str, Any]]) -> Table:
    """One row per mode and token budget, and first the one without contrast."""
    found = []
    for row in rows:
        shown = {key: Number(row[key], digits=digits) for key, (_, digits) in _MEASURED.items() if key in row}
        found.append({"mode": TITLES[row["mode"]], "tokens": row.get("tokens"), **shown})
    columns = [Column("mode", "Exit", head=True), Column("tokens", "Training tokens", numeric=True)]
    columns += [Column(key, title, numeric=True) for key, (title, _) in _MEASURED.items()]
    note = (
        f"{study.model}: the exit at layer {study.layer}. Its perplexity and agreement are means over domains of "
        "held-out text (geometric for perplexity). Diversity and coherence: greedy search with the last layer "
        f"contrasted with this exit, on {study.prompts} validation prompts per domain, means over domains. Accuracy: "
        f"the first {study.items} items of {study.task}, with the same contrast."
    )
    return Table("exit-training", "How much training does an exit need?", columns, found, note, groups=("mode",))


def training_budget_figure(study: Study, table: Table) -> Figure:
    """Every quantity over the tokens of training, a line per mode; untrained exits and no contrast as level lines."""
    with style():
        canvas, grid = new_canvas(3, 2)
        shown = [key for key in _MEASURED if any(key in row for row in table.rows)]
        for axes in grid.flat[len(shown) :]:
            axes.set_axis_off()
        for axes, key in zip(grid.flat, shown, strict=False):
            _draw(axes, table, key)
        add_legend(canvas, grid[0][1] if len(shown) < 3 else grid[1][0])
        return finish(
            canvas,
            "exit-training",
            f"{study.model}: what training does to the exit at layer {study.layer}, and to contrast with it.",
            "Lines over training tokens; the numbers are in the table of the same name.",
        )


def _draw(axes, table: Table, key: str) -> None:
    for i, mode in enumerate(dict.fromkeys(row["mode"] for row in table.rows)):
        points = [(row["tokens"], row[key].value) for row in table.rows if row["mode"] == mode and key in row]
        if points and not any(tokens for tokens, _ in points):
            axes.axhline(points[0][1], color=PLAIN if mode == TITLES["plain"] else SERIES[i], ls="--", label=mode)
        elif points:
            axes.plot(*zip(*points, strict=True), color=SERIES[i], marker=MARKERS[i], label=mode)
    axes.set_xscale("log")
    if key == "exit_perplexity":
        log_scale(axes)
    axes.set_xlabel("Training tokens")
    axes.set_ylabel(_MEASURED[key][0])
