"""Tables of what was tested: the paper's claims, and contrast against cheaper remedies."""

from __future__ import annotations

from autocontrastive_gen.evaluation.metrics import text_metrics
from autocontrastive_gen.foundation.statistics import Interval
from autocontrastive_gen.report.claim_rules import Claims
from autocontrastive_gen.report.claims import Check
from autocontrastive_gen.report.columns import MODEL, N, p_value
from autocontrastive_gen.report.results import Results
from autocontrastive_gen.report.table import Column, Number, Table
from autocontrastive_gen.report.trade_offs import TradeOff


def claims_table(checks: list[Check], rules: Claims) -> Table:
    """The paper's claims, one per row and model."""
    rows = []
    for check in checks:
        claim = check.claim
        row = {"claim": claim.statement, "model": check.model, "verdict": check.verdict, "scope": check.scope or None}
        row |= {"compared": check.settings or None, "metric": claim.metric, "margin": claim.margin}
        row["reason"] = check.reason
        if check.found is not None:
            where = {"file": check.file, "cell": check.cell}
            row["n"] = check.found.difference.n
            row["effect"] = Number.of(check.found.difference, signed=True, **where)
            row["p"], row["corrected"] = (p_value(p, **where) for p in (check.p, check.corrected))
            if check.found.effect is not None:
                row["standardised"] = Number(check.found.effect, digits=2, signed=True, **where)
        rows.append(row)
    columns = [
        Column("claim", "Claim of the paper", head=True),
        MODEL,
        Column("verdict", "Verdict"),
        Column("scope", "On"),
    ]
    columns += [Column("reason", "Because"), Column("compared", "Compared"), Column("metric", "Metric", shown=False), N]
    columns += [Column("effect", "Effect", numeric=True, interval=True), Column("standardised", "d", numeric=True)]
    columns += [Column("margin", "Margin", numeric=True), Column("p", "p", numeric=True)]
    columns += [Column("corrected", "p (Holm)", numeric=True)]
    return Table("claims", "The paper's conclusions on this run's models", columns, rows, _claims_note(rules))


def _claims_note(rules: Claims) -> str:
    level, bound = f"{100 * rules.level:g} %", f"{200 * rules.level - 100:g} %"
    notes = " ".join(f"“{claim.statement}”: {claim.note}" for claim in rules.claims if claim.note)
    return (
        f"Effect: paired difference over all prompts (or items) together, with its {level} BCa bootstrap interval over"
        " documents; n: documents. With a margin the test is one-sided, of a loss beyond the margin, and the interval"
        f" is the {bound} one, whose lower end is the one-sided {level} bound. d: the difference over the standard "
        "deviation of the documents' jackknife pseudo-values (for means Cohen's d_z). p: permutation test within "
        "documents, against 0 or against the margin, then Holm's correction over the claims of this table. Rules, "
        "margins and levels are set before a run, in conf/paper/claims.yaml. A verdict holds for the texts or task and "
        "the layer that it names, on this run's models; “not shown” means that this run cannot tell, not that the "
        f"claim is wrong. {notes}"
    ).rstrip()


def trade_off_table(results: Results, found: list[TradeOff], rules: Claims) -> Table:
    """Contrast against each cheaper remedy, one per row and model."""
    asked, rows = rules.trade_offs, []
    for entry in found:
        where = {"file": results.paths.per_prompt(entry.model).as_posix(), "cell": f"score@{entry.model}"}
        row = {"compared": f"{entry.setting} − {entry.rival}", "model": entry.model, "verdict": entry.verdict}
        row["reason"] = entry.reason
        if entry.gain is not None:
            row["n"] = entry.gain.n
            row |= {"gain": _signed(entry.gain, where), "keep": _signed(entry.keep, where)}
            row |= {"better": p_value(entry.p_better, **where), "worse": p_value(entry.p_worse, **where)}
        rows.append(row)
    titles = {key: f"Difference in {_title(getattr(asked, key))}" if asked else key for key in ("gain", "keep")}
    columns = [
        Column("compared", "Compared", head=True),
        MODEL,
        Column("verdict", "Verdict"),
        Column("reason", "Because"),
        N,
    ]
    columns += [Column(key, title, numeric=True, interval=True) for key, title in titles.items()]
    columns += [Column("better", "p wins (Holm)", numeric=True), Column("worse", "p loses (Holm)", numeric=True)]
    title = "Contrast against cheaper remedies"
    return Table("trade-offs", title, columns, rows, _trade_off_note(rules) if asked else "")


def _trade_off_note(rules: Claims) -> str:
    asked = rules.trade_offs
    gain, keep = _title(asked.gain), _title(asked.keep)
    equal, loss = (asked.margins[key] for key in (asked.gain, asked.keep))
    return (
        "A question of this project, not of the paper; its rules were written before the run. Differences over all "
        f"prompts together, with {100 * rules.level:g} % BCa bootstrap intervals over documents. {asked.setting} wins "
        f"if its {gain} is higher and its {keep} no lower than {loss:g} below the rival's; it loses if its {keep} is "
        f"lower and its {gain} within {equal:g} of the rival's; “neither” is all else, such as more of one for less of"
        " the other. Each part is a one-sided permutation test of documents' jackknife pseudo-values; an outcome's "
        "p-value is the largest of its parts', and Holm's correction is over both outcomes of all rows."
    )


def _signed(interval: Interval, where: dict[str, str]) -> Number:
    return Number.of(interval, signed=True, **where)


def _title(metric: str) -> str:
    return text_metrics()[metric].title.lower()
