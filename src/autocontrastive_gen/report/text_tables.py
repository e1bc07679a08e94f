"""The table of generated texts: their quality by model, domain and setting."""

from __future__ import annotations

from collections.abc import Iterator

from autocontrastive_gen.evaluation.metrics import HUMAN, text_metrics
from autocontrastive_gen.report.columns import CELL, DOMAIN, MODEL, N, resampled
from autocontrastive_gen.report.methods import catalogue_note
from autocontrastive_gen.report.paper import NOT_RUN
from autocontrastive_gen.report.results import Results
from autocontrastive_gen.report.table import Column, Number, Table


def text_cells(results: Results) -> Iterator[tuple[str, str, str]]:
    """(model, domain, setting or "human") of every row of the table of quality."""
    for model in results.models:
        for domain in results.domains:
            human = [HUMAN] if HUMAN in results.quality[model] else []
            for setting in [*results.plan["settings"], *human]:
                yield model, domain, setting


def quality_table(results: Results) -> Table:
    """Generation quality by model, domain and setting: the layout of the paper's main table."""
    rows = []
    for model, domain, setting in text_cells(results):
        numbers = quality_numbers(results, model, setting, domain)
        row = {"cell": f"{model} {domain} {setting}", "model": model, "setting": setting}
        row["domain"] = results.domains[domain]["title"]
        if not numbers:
            rows.append(row | {"status": NOT_RUN})
            continue
        row["lower"] = results.resolved(model, setting).get("lower")
        row["n"] = max(number.n for number in numbers.values())
        rows.append(row | numbers)
    columns = [
        CELL,
        MODEL,
        DOMAIN,
        Column("setting", "Setting", head=True),
        Column("lower", "Lower layer", numeric=True),
        N,
    ]
    columns += [Column(m.key, m.title, numeric=True, interval=True, shown=m.shown) for m in text_metrics().values()]
    columns += [Column("status", "Status")]
    used = [metric for metric in text_metrics().values() if metric.shown and any(metric.key in row for row in rows)]
    meanings = "; ".join(f"{metric.title}: {metric.meaning}" for metric in used)
    note = f"{resampled(results)}. {meanings}. Encoder of coherence: {results.plan['coherence_asset']}."
    note += f" {catalogue_note(results, 'decoders', 'contrasts')}"
    if any("mauve" in row for row in rows):
        note += f" Features of MAUVE: last states of {results.plan['mauve_asset'] or 'the model itself'}."
    return Table("quality", "Generation quality", columns, rows, note, groups=("model", "domain"))


def quality_numbers(results: Results, model: str, setting: str, domain: str) -> dict[str, Number]:
    """{metric: number} of one setting on one domain; empty if it was not run."""
    metrics = results.quality[model].get(setting, {}).get(domain, {})
    where = {"file": results.paths.metrics(model).as_posix(), "cell": f"score@{model}"}
    known = text_metrics().values()
    return {m.key: Number.of(metrics[m.key], digits=m.digits, **where) for m in known if m.key in metrics}
