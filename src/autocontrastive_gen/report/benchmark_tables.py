"""Tables of the benchmarks."""

from __future__ import annotations

from autocontrastive_gen.evaluation.metrics import item_metric
from autocontrastive_gen.foundation.statistics import Interval, normal_width
from autocontrastive_gen.report.columns import CELL, MODEL, N, add_corrected, p_value, resampled
from autocontrastive_gen.report.gains import PERMUTATIONS, item_interval, pair_items
from autocontrastive_gen.report.methods import catalogue_note
from autocontrastive_gen.report.paper import NOT_RUN
from autocontrastive_gen.report.results import Results
from autocontrastive_gen.report.table import Column, Number, Table


def benchmark_table(results: Results) -> Table:
    """Scores by task and setting, and the paired difference from the original head."""
    rows = []
    for model in results.models:
        scores = results.benchmarks.get(model, {})
        for task in results.plan["tasks"]:
            for setting in results.plan["benchmark_settings"]:
                row = {"cell": f"{model} {task} {setting}", "model": model, "task": task, "setting": setting}
                row["lower"] = results.resolved(model, setting).get("lower")
                found = scores.get(setting, {}).get(task, {})
                if not found:
                    rows.append(row | {"status": NOT_RUN})
                for metric, entry in found.items():
                    rows.append(row | _benchmark_row(results, model, setting, task, metric, entry))
    columns = [CELL, MODEL, Column("task", "Task"), Column("metric", "Metric")]
    columns += [Column("setting", "Setting", head=True), Column("lower", "Lower layer", numeric=True)]
    columns += [N, Column("score", "Score", numeric=True, interval=True)]
    columns += [
        Column("gain", "Less original", numeric=True, interval=True),
        Column("p", "p", numeric=True, shown=False),
    ]
    columns += [Column("corrected", "p (Holm)", numeric=True), Column("status", "Status")]
    rows.sort(key=lambda row: (list(results.models).index(row["model"]), results.plan["tasks"].index(row["task"])))
    add_corrected(rows, "p", "corrected", within=("model", "metric"))
    note = (
        f"{resampled(results)} of the items; differences are paired item by item, p of a two-sided permutation test "
        f"within documents ({PERMUTATIONS:,} permutations at random, or each possible one if there are fewer), with "
        "Holm's correction over the tasks and settings of a metric. "
        f"{_layers_note(results)}{_zeros_note(results)}{catalogue_note(results, 'contrasts')}"
    )
    return Table("benchmark", "Benchmarks", columns, rows, note, groups=("model", "task", "metric"))


def _layers_note(results: Results) -> str:
    """Where the layers of settings that state none come from."""
    if not any(model["lower"] == "auto" for model in results.models.values()):
        return ""
    where = (
        f"validation items of {' and '.join(results.benchmark_tasks)}"
        if results.benchmark_tasks
        else ("validation prompts, for generation")
    )
    return f"A lower layer that a setting does not name was chosen on {where} (table “What was chosen”). "


def _zeros_note(results: Results) -> str:
    """What the accuracy of a contrast that excludes tokens is worth where answers are given."""
    excluding = [name for name, entry in results.plan["contrasts"].items() if entry.get("outside", 0) is None]
    ran = [n for n in excluding if {s.name for s in results.settings_with(n)} & {*results.plan["benchmark_settings"]}]
    if not ran:
        return ""
    right = ", which in truthfulqa_mc1 is the right one" if "truthfulqa_mc1" in results.plan["tasks"] else ""
    return (
        f"Under {' and '.join(ran)}, a token that is not plausible has probability zero, and so has every given answer "
        "with such a token. In tasks of multiple choice where many of the answers' tokens are not plausible, answers "
        f"tie at zero, and of those lm-eval takes the first{right}: an accuracy that comes from such ties says nothing "
        "about the method; a finite `outside` avoids it. "
    )


def _benchmark_row(results: Results, model: str, setting: str, task: str, metric: str, entry: dict) -> dict:
    cell = f"benchmark@{model}-{setting}"
    where = {"file": results.paths.results(model, setting).as_posix(), "cell": cell}
    found = item_interval(results, model, setting, task, metric)
    if found is None or abs(found.value - entry["value"]) > 1e-3 * max(1.0, abs(entry["value"])):
        # this task computes its score from the items in another way than the metric declares
        found = normal_interval(entry, results.plan["bootstrap"]["level"])
    low, high = (None, None) if found is None else (found.low, found.high)
    digits = item_metric(metric).digits
    row = {"metric": metric, "n": entry.get("n"), "score": Number(entry["value"], low, high, digits=digits, **where)}
    paired = pair_items(results, model, setting, task, metric) if setting != "original" else None
    if paired is not None:
        gain = paired.difference()
        file = results.paths.items(model, setting).as_posix()
        row["gain"] = Number.of(gain.difference, signed=True, digits=digits, file=file, cell=cell)
        row["p"] = p_value(gain.p_value, file, cell)
    return row


def normal_interval(entry: dict, level: float) -> Interval | None:
    """Interval from lm-eval's own standard error; None if it states none."""
    if not entry.get("stderr"):
        return None
    half = normal_width(level) * entry["stderr"]
    return Interval(entry["value"], entry["value"] - half, entry["value"] + half, entry.get("n") or 0)


def accuracy_table(benchmark: Table) -> Table:
    """The accuracies among the benchmarks, each row with a name of its own, for ``dvc plots``."""
    rows = [
        {"cell": f"{row['model']} {row['task']} {row['metric']} {row['setting']}", "accuracy": row["score"]}
        for row in benchmark.rows
        if "score" in row and item_metric(row["metric"]).headline
    ]
    columns = [Column("cell", "Cell"), Column("accuracy", "Accuracy", numeric=True, interval=True)]
    return Table("accuracy", "Accuracy by task and setting", columns, rows, csv_only=True)
