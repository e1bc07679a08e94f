"""Paired differences between settings on the same prompts."""

from __future__ import annotations

from autocontrastive_gen.evaluation.metrics import TextMetric, text_metrics
from autocontrastive_gen.report.columns import DOMAIN, MODEL, N, add_corrected, p_value, resampled
from autocontrastive_gen.report.gains import PERMUTATIONS, Gain, pair_texts
from autocontrastive_gen.report.results import Results
from autocontrastive_gen.report.table import Column, Number, Table


def gains_table(results: Results) -> Table:
    """Each setting against the baseline, and each contrast against its own decoder without."""
    compared = [metric for metric in text_metrics().values() if metric.headline and metric.columns]
    rows = [
        row
        for model in results.models
        for domain in [None, *results.domains]
        for setting, against in results.comparisons
        if "n" in (row := _row(results, model, domain, setting, against, compared))
    ]
    for metric in compared:
        add_corrected(rows, f"{metric.key}_p", f"{metric.key}_holm", within=("model", "domain"))
    columns = [MODEL, DOMAIN, Column("setting", "Setting", head=True), Column("against", "Against"), N]
    for metric in compared:
        columns += [
            Column(metric.key, f"Gain in {metric.title.lower()}", numeric=True, interval=True),
            Column(f"{metric.key}_p", "p", numeric=True, shown=False),
            Column(f"{metric.key}_holm", "p (Holm)", numeric=True),
        ]
    note = (
        f"Setting less what it is compared with, on the same prompts: every setting with {results.baseline}, contrasts"
        " also with their own decoder without contrast. All: the prompts of all domains together. "
        f"{resampled(results)}; n is the number of documents; p of a two-sided permutation test that swaps the two "
        f"settings within documents ({PERMUTATIONS:,} times at random, or once in each possible way if there are "
        "fewer), against no difference, with Holm's correction over the rows of a domain, for each metric apart. (The "
        "claims have tests of their own, some of them against a margin.)"
    )
    return Table("gains", "Paired differences", columns, rows, note, groups=("model", "domain"))


def _row(
    results: Results, model: str, domain: str | None, setting: str, against: str, compared: list[TextMetric]
) -> dict:
    row = {"model": model, "setting": setting, "against": against}
    row["domain"] = results.domains[domain]["title"] if domain else "all"
    where = {"file": results.paths.per_prompt(model).as_posix(), "cell": f"score@{model}"}
    for metric in compared:
        paired = pair_texts(results, model, [Gain(setting, against)], metric.key, domain)
        if paired is not None:
            found = paired.difference()
            row["n"] = found.difference.n
            row[metric.key] = Number.of(found.difference, signed=True, digits=metric.digits, **where)
            row[f"{metric.key}_p"] = p_value(found.p_value, **where)
    return row
