"""Tables that compare a run with the paper: its claims and its numbers."""

from __future__ import annotations

from autocontrastive_gen.evaluation.metrics import HUMAN, text_metrics
from autocontrastive_gen.report.benchmark_tables import benchmark_table
from autocontrastive_gen.report.claims import CONTRAST, Check
from autocontrastive_gen.report.columns import MODEL, N, p_value
from autocontrastive_gen.report.paper import NOT_AVAILABLE, NOT_COMPARABLE, NOT_RUN, Paper
from autocontrastive_gen.report.results import Results
from autocontrastive_gen.report.table import Column, Number, Table
from autocontrastive_gen.report.text_tables import quality_numbers, text_cells


def claims_table(results: Results, checks: list[Check]) -> Table:
    """Every claim with its test on this run and the verdict."""
    rows = []
    for check in checks:
        row = {"claim": check.claim.statement, "model": check.model, "compared": check.settings}
        row |= {"metric": check.claim.metric, "verdict": check.verdict, "margin": check.claim.margin}
        row["reason"] = check.reason
        if check.found is not None:
            where = _origin(results, check)
            row["n"] = check.found.difference.n
            row["effect"] = Number.of(check.found.difference, signed=True, **where)
            row["p"], row["corrected"] = (p_value(p, **where) for p in (check.found.p_value, check.corrected))
            if check.found.effect is not None:
                row["standardised"] = Number(check.found.effect, digits=2, signed=True, **where)
        rows.append(row)
    columns = [Column("claim", "Claim of the paper"), MODEL, Column("verdict", "Verdict"), Column("reason", "Because")]
    columns += [Column("compared", "Compared"), Column("metric", "Metric", shown=False), N]
    columns += [Column("effect", "Effect", numeric=True, interval=True), Column("standardised", "d", numeric=True)]
    columns += [Column("margin", "Margin", numeric=True, shown=False), Column("p", "p", numeric=True)]
    columns += [Column("corrected", "p (Holm)", numeric=True)]
    note = (
        "Effect: paired difference over the prompts (items) of all domains (tasks), with its BCa bootstrap interval; "
        "d: the difference over the standard deviation of the documents' jackknife pseudo-values (for means Cohen's "
        "d_z). p: permutation test within prompts, then Holm's correction over the claims. Rules, margins and levels "
        "are set before a run, in conf/paper/claims.yaml. “Not shown” means that this run cannot tell, not that the "
        "claim is wrong; “contradicted” holds for this run's models and sizes."
    )
    return Table("claims", "The paper's conclusions on this run's models", columns, rows, note)


def published_table(results: Results, paper: Paper | None) -> Table:
    """Each number of this run beside the published one, where its source was seen."""
    rows, ran = [], set()

    def add(kind: str, model: str, where: str, title: str, setting: str, metric: str, number: Number, n) -> None:
        row = {"model": model, "where": title, "setting": setting, "metric": metric, "n": n, "ours": number}
        compared = paper.verdict(kind, model, where, setting, metric, number.value) if paper else None
        rows.append(row | _compared(compared))
        ran.add((model, where, setting))

    for model, domain, setting in text_cells(results):
        for metric, number in quality_numbers(results, model, setting, domain).items() if setting != HUMAN else ():
            if text_metrics()[metric].headline:
                title = results.domains[domain]["title"]
                add("generation", model, domain, title, setting, metric, number, number.n)
    for row in benchmark_table(results).rows:
        if "score" in row:
            task = row["task"]
            add("benchmark", row["model"], task, task, row["setting"], row["metric"], row["score"], row["n"])
    for kind in ("generation", "benchmark"):
        for model, where, setting, metric, published in paper.not_run(kind, ran) if paper else ():
            row = {"model": model, "where": where, "setting": setting, "metric": metric, "verdict": NOT_RUN}
            rows.append(row | {"published": Number(published)})
    columns = [MODEL, Column("where", "Domain or task"), Column("setting", "Setting"), Column("metric", "Metric"), N]
    columns += [Column("ours", "Ours", numeric=True, interval=True), Column("published", "Published", numeric=True)]
    columns += [Column("difference", "Difference", numeric=True), Column("tolerance", "Tolerance", numeric=True)]
    columns += [Column("verdict", "Verdict")]
    return Table("published", "Against the published values", columns, rows, _source(paper), groups=("model", "where"))


def _compared(compared: dict | None) -> dict:
    if compared is None or compared["published"] is None:
        return {"published": NOT_AVAILABLE, "verdict": NOT_COMPARABLE}
    numbers = {key: Number(value, signed=key == "difference") for key, value in compared.items() if key != "verdict"}
    return numbers | {"verdict": compared["verdict"]}


def _source(paper: Paper | None) -> str:
    if paper is None:
        return (
            "This profile runs other models than the paper does, so there is no published value to compare with "
            "(report.paper is null)."
        )
    source = paper.source
    tolerances = "; ".join(
        f"{metric} {t.value if t.value is not None else f'{100 * t.relative:g} %'} ({' '.join(t.reason.split())})"
        for metric, t in paper.tolerances.items()
    )
    return f"{source.authors}, {source.title}, {source.venue}, {source.url} ({source.seen}). Tolerances: {tolerances}"


def _origin(results: Results, check: Check) -> dict[str, str]:
    if check.claim.benchmark:
        file, cell = results.paths.items(check.model, CONTRAST), f"benchmark@{check.model}-{CONTRAST}"
    else:
        file, cell = results.paths.per_prompt(check.model), f"score@{check.model}"
    return {"file": file.as_posix(), "cell": cell}
