"""The cost of a run by stage: total time and peak memory of its cells, each as of its last run."""

from __future__ import annotations

from typing import Any

from autocontrastive_gen.experiment.paths import STAGES
from autocontrastive_gen.foundation.cost import duration
from autocontrastive_gen.foundation.files import write_json, write_text
from autocontrastive_gen.report.results import Results


def summarise(results: Results) -> dict[str, Any]:
    """{"stages": one row per stage, "total": over all stages, "speeds": of generation, "cells": the cost files}."""
    rows = []
    for stage in STAGES:
        cells = [cost for name, cost in results.costs.items() if name == stage or name.startswith(f"{stage}-")]
        if cells:
            rows.append({"stage": stage, "cells": len(cells), **_sum(cells)})
    return {
        "stages": rows,
        "total": _sum(list(results.costs.values())),
        "speeds": speeds(results),
        "cells": results.costs,
    }


def speeds(results: Results) -> dict[str, dict[str, dict[str, float]]]:
    """{model: {setting: {"tokens_per_s", "relative"}}}: generated tokens per second of the cell, loading included, and
    the same relative to the baseline of the run; empty where one of the two was not recorded."""
    found: dict[str, dict] = {}
    for model in results.models:
        costs = {s.name: results.costs.get(f"generate-{model}-{s.name}", {}) for s in results.settings}
        rates = {name: cost["tokens"] / _seconds(cost) for name, cost in costs.items() if cost.get("tokens")}
        if base := rates.get(results.baseline):
            found[model] = {name: {"tokens_per_s": rate, "relative": rate / base} for name, rate in rates.items()}
    return found


def _seconds(cost: dict[str, Any]) -> float:
    """Wall seconds; of a cell with one thread on a CPU, its CPU seconds, which other work there hardly changes."""
    alone = cost.get("threads") == 1 and cost.get("device") == "cpu" and cost.get("processes", 1) == 1
    return cost["cpu_s"] if alone else cost["wall_s"]


def write_cost(results: Results) -> dict[str, Any]:
    """Write cost.json and cost.md, which may differ from run to run, and return their content."""
    cost = summarise(results)
    write_json(results.paths.reports / "cost.json", cost)
    lines = ["### Cost", "", "| Stage | Cells | Wall | CPU | Peak memory | GPU memory | Device |"]
    lines.append("|:--|--:|--:|--:|--:|--:|:--|")
    for row in [*cost["stages"], {"stage": "all", "cells": len(results.costs), **cost["total"]}]:
        shown = (duration(row["wall_s"]), duration(row["cpu_s"]), size(row["peak_rss_bytes"]))
        gpu = size(row["peak_gpu_bytes"]) if row.get("peak_gpu_bytes") else "–"
        lines.append(f"| {row['stage']} | {row['cells']} | {' | '.join(shown)} | {gpu} | {row['device']} |")
    if cost["speeds"]:
        lines += ["", f"| Model | Setting | Tokens per second | {results.baseline} = 1 |", "|:--|:--|--:|--:|"]
        for model, rates in cost["speeds"].items():
            for name, rate in rates.items():
                lines.append(f"| {model} | {name} | {rate['tokens_per_s']:.1f} | {rate['relative']:.2f} |")
    lines += ["", "Each cell as of its last run; a cell taken from the cache costs nothing.", ""]
    write_text(results.paths.reports / "cost.md", "\n".join(lines))
    return cost


def size(count: float) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _sum(cells: list[dict]) -> dict[str, Any]:
    """Times add up; for memory the peak counts."""
    summed = {key: sum(cell.get(key, 0) for cell in cells) for key in ("wall_s", "cpu_s")}
    peaks = {
        key: max((cell.get(key) or 0 for cell in cells), default=0) for key in ("peak_rss_bytes", "peak_gpu_bytes")
    }
    return {**summed, **peaks, "device": ", ".join(sorted({cell.get("device", "cpu") for cell in cells}))}
