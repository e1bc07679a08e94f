"""All settings of a run side by side: what a researcher of decoding looks at first."""

from __future__ import annotations

from dataclasses import replace

from autocontrastive_gen.evaluation.metrics import HUMAN, item_metric, text_metrics
from autocontrastive_gen.report.columns import MODEL, N, resampled
from autocontrastive_gen.report.methods import catalogue_note
from autocontrastive_gen.report.paper import NOT_RUN
from autocontrastive_gen.report.results import Results
from autocontrastive_gen.report.table import Column, Number, Table

PLANE = ("coherence", "diversity")
"""Axes of the plane on which settings are compared; more of either is better."""


def overview_table(results: Results) -> Table:
    """Texts of every setting over all prompts together, by decoder, with the Pareto front."""
    metrics = [metric for metric in text_metrics().values() if metric.shown and metric.columns]
    rows = [row for model in results.models for row in _rows(results, model, [metric.key for metric in metrics])]
    columns = [MODEL, Column("setting", "Setting", head=True), Column("decoder", "Decoder", shown=False)]
    columns += [Column("lower", "Lower layer", numeric=True), N]
    columns += [Column(m.key, m.title, numeric=True, interval=True) for m in metrics]
    columns += [Column("front", "Pareto front"), Column("status", "Status")]
    note = (
        f"All prompts of all domains together. {resampled(results)}. Pareto front: no other setting is better in one "
        "of diversity and coherence and at least as good in the other. "
        f"{catalogue_note(results, 'decoders', 'contrasts')}"
    )
    return Table("overview", "All settings", columns, rows, note, groups=("model", "decoder"))


def _rows(results: Results, model: str, metrics: list[str]) -> list[dict]:
    where = {"file": results.paths.per_prompt(model).as_posix(), "cell": f"score@{model}"}
    ordered = sorted(results.settings, key=lambda setting: results.decoders.index(setting.decoder))
    rows = []
    for name, decoder in [*((s.name, s.decoder) for s in ordered), (HUMAN, HUMAN)]:
        found = results.pooled(model, name)
        row = {"model": model, "setting": name, "decoder": decoder}
        if name != HUMAN or found:
            rows.append(row | ({"n": max(it.n for it in found.values())} if found else {"status": NOT_RUN}))
            known = text_metrics()
            rows[-1] |= {k: Number.of(found[k], digits=known[k].digits, **where) for k in metrics if k in found}
            rows[-1]["lower"] = results.resolved(model, name).get("lower") if name != HUMAN else None
    mark_front(rows)
    return rows


def mark_front(rows: list[dict]) -> None:
    """Set "front" of the settings that have both axes: whether no other is better on one and as good on the other."""
    points = {i: [row[key].value for key in PLANE] for i, row in enumerate(rows) if _on_plane(row)}
    for i, point in points.items():
        rows[i]["front"] = not any(_dominates(other, point) for other in points.values())


def _on_plane(row: dict) -> bool:
    return row["setting"] != HUMAN and all(key in row for key in PLANE)


def _dominates(a: list[float], b: list[float]) -> bool:
    return a != b and all(x >= y for x, y in zip(a, b, strict=True))


def with_speed(table: Table, results: Results, speeds: dict[str, dict[str, dict[str, float]]]) -> Table:
    """The overview with tokens per second relative to the baseline, for the page alone: times differ between reruns."""
    rows = []
    for row in table.rows:
        model, setting = row["model"], row["setting"]
        speed = speeds.get(model, {}).get(setting)
        if speed is not None:
            file = results.paths.cost("generate", f"{model}-{setting}").as_posix()
            number = Number(speed["relative"], digits=2, file=file, cell=f"generate@{model}-{setting}")
            row = row | {"speed": number}
        rows.append(row)
    title = f"Speed ({results.baseline} = 1)"
    at = next(i for i, column in enumerate(table.columns) if column.key == "front")
    columns = [*table.columns[:at], Column("speed", title, numeric=True), *table.columns[at:]]
    note = (
        f"{table.note} Speed: tokens per second of the whole cell, loading included, over those of {results.baseline} "
        "when each last ran; it stands on this page and in cost.md alone, as times differ between reruns."
    )
    return replace(table, columns=columns, rows=rows, note=note)


def benchmark_overview(results: Results, benchmark: Table) -> Table:
    """Tasks by setting: the score of the original head, and the difference of every other setting from it."""
    rows: dict[tuple, dict] = {}
    settings = [name for name in results.plan["benchmark_settings"] if name != "original"]
    for row in benchmark.rows:
        if "score" not in row or not item_metric(row["metric"]).headline:
            continue
        line = rows.setdefault(
            (row["model"], row["task"], row["metric"]), {key: row[key] for key in ("model", "task", "metric")}
        )
        if row["setting"] == "original":
            line |= {"n": row["n"], "original": row["score"]}
        elif "gain" in row:
            line[row["setting"]] = row["gain"]
    columns = [MODEL, Column("task", "Task", head=True), Column("metric", "Metric"), N]
    columns += [Column("original", "original", numeric=True, interval=True)]
    columns += [Column(name, f"{name} − original", numeric=True, interval=True) for name in settings]
    note = f"Accuracies. {resampled(results)}. {catalogue_note(results, 'contrasts')}"
    return Table("benchmark-overview", "Benchmarks by setting", columns, list(rows.values()), note, groups=("model",))
