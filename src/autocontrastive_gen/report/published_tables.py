"""The table of our numbers beside published ones."""

from __future__ import annotations

from autocontrastive_gen.report.columns import MODEL, N
from autocontrastive_gen.report.paper import NOT_RUN, Paper
from autocontrastive_gen.report.results import Results
from autocontrastive_gen.report.table import Column, Number, Table
from autocontrastive_gen.report.text_tables import quality_numbers


def published_table(results: Results, papers: list[Paper], benchmark: Table) -> Table:
    """Every published value of a model of this run, beside ours where its setting was run."""
    compared = [paper for paper in papers if paper.entries(results.models)]
    scores = {
        (row["model"], row["task"], row["setting"], row["metric"]): row for row in benchmark.rows if "score" in row
    }
    rows = [_row(results, scores, paper, *entry) for paper in compared for entry in paper.entries(results.models)]
    columns = [Column("source", "Source"), MODEL, Column("where", "Domain or task")]
    columns += [Column("setting", "Setting", head=True), Column("metric", "Metric"), N]
    columns += [Column("ours", "Ours", numeric=True, interval=True), Column("published", "Published", numeric=True)]
    columns += [Column("difference", "Difference", numeric=True), Column("tolerance", "Tolerance", numeric=True)]
    columns += [Column("verdict", "Verdict")]
    note = " ".join(map(_note, compared)) or "No published value is of a model of this run."
    return Table("published", "Against published values", columns, rows, note, groups=("source", "model", "where"))


def _row(
    results: Results,
    scores: dict[tuple, dict],
    paper: Paper,
    kind: str,
    model: str,
    where: str,
    setting: str,
    metric: str,
) -> dict:
    row = {"source": paper.source.short, "model": model, "where": where, "setting": setting, "metric": metric}
    if kind == "generation":
        row["where"] = results.domains.get(where, {}).get("title", where)
        ours = quality_numbers(results, model, setting, where).get(metric)
        row["n"] = ours.n if ours else None
    else:
        found = scores.get((model, where, setting, metric), {})
        ours, row["n"] = found.get("score"), found.get("n")
    if ours is None:
        return row | {"published": Number(paper.value(kind, model, where, setting, metric)), "verdict": NOT_RUN}
    compared = paper.verdict(kind, model, where, setting, metric, ours.value)
    numbers = {key: Number(it, signed=key == "difference") for key, it in compared.items() if isinstance(it, float)}
    return row | {"ours": ours, "verdict": compared["verdict"]} | numbers


def _note(paper: Paper) -> str:
    source = paper.source
    tolerances = "; ".join(
        f"{metric} {t.value if t.value is not None else f'{100 * t.relative:g} %'} ({' '.join(t.reason.split())})"
        for metric, t in paper.tolerances.items()
    )
    return f"{source.authors}, {source.title}, {source.venue}, {source.url} ({source.seen}). Tolerances: {tolerances}"
