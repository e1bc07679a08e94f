"""The tables of a report, each a function of the results."""

from __future__ import annotations

import math
from statistics import NormalDist

from autocontrastive_gen.evaluation.metrics import ExitMetric, exit_metrics, item_metric, text_metrics
from autocontrastive_gen.foundation.statistics import Interval
from autocontrastive_gen.report.claims import Check
from autocontrastive_gen.report.gains import Gain, compare, compare_items, item_interval
from autocontrastive_gen.report.paper import NOT_AVAILABLE, NOT_COMPARABLE, NOT_RUN, Paper
from autocontrastive_gen.report.results import HUMAN, Results
from autocontrastive_gen.report.table import Column, Number, Table

_MODEL, _DOMAIN = Column("model", "Model"), Column("domain", "Domain")
_N = Column("n", "n", numeric=True)
_CELL = Column("cell", "Cell", shown=False)
_DEPTH = Column("depth", "Depth", shown=False)
"""For ``dvc plots``: one name a row, and the exit as a number."""


def all_tables(results: Results, paper: Paper | None, checks: list[Check]) -> list[Table]:
    """In the order in which a reader wants them."""
    return [
        claims_table(results, checks),
        quality_table(results),
        gains_table(results),
        benchmark_table(results),
        exits_table(results),
        selection_table(results),
        published_table(results, paper),
        training_table(results),
        accuracy_table(results),
    ]


def quality_table(results: Results) -> Table:
    """Generation quality by model, domain and setting: the layout of the paper's main table."""
    rows = []
    for model, domain, setting in _cells(results):
        numbers = _quality(results, model, setting, domain)
        row = {"cell": f"{model} {domain} {setting}", "model": model, "setting": setting}
        row["domain"] = results.domains[domain]["title"]
        if not numbers:
            rows.append(row | {"status": NOT_RUN})
            continue
        row["lower"] = results.resolved(model, setting).get("lower")
        row["n"] = max(number.n for number in numbers.values())
        rows.append(row | numbers)
    columns = [_CELL, _MODEL, _DOMAIN, Column("setting", "Setting"), Column("lower", "Lower layer", numeric=True), _N]
    columns += [Column(m.key, m.title, numeric=True, interval=True, shown=m.shown) for m in text_metrics().values()]
    columns += [Column("status", "Status")]
    used = [metric for metric in text_metrics().values() if metric.shown and any(metric.key in row for row in rows)]
    meanings = "; ".join(f"{metric.title}: {metric.meaning}" for metric in used)
    note = f"{_level(results)}. {meanings}. Encoder of coherence: {results.plan['coherence_asset']}."
    if any("mauve" in row for row in rows):
        note += f" Features of MAUVE: last states of {results.plan['mauve_asset'] or 'the model itself'}."
    return Table("quality", "Generation quality", columns, rows, note, groups=("model", "domain"))


def _quality(results: Results, model: str, setting: str, domain: str) -> dict[str, Number]:
    metrics = results.quality[model].get(setting, {}).get(domain, {})
    where = {"file": results.paths.metrics(model).as_posix(), "cell": f"score@{model}"}
    known = text_metrics().values()
    return {m.key: Number.of(metrics[m.key], digits=m.digits, **where) for m in known if m.key in metrics}


def gains_table(results: Results) -> Table:
    """Each contrast setting against the same decoding without, paired by prompt."""
    compared = [metric for metric in text_metrics().values() if metric.headline and metric.columns]
    rows = []
    for model in results.models:
        for contrast, plain in results.pairs:
            for domain in [*results.domains, None]:
                row = {"model": model, "contrast": contrast.name, "plain": plain.name}
                row["domain"] = results.domains[domain]["title"] if domain else "all"
                for metric in compared:
                    found = compare(results, model, [Gain(contrast.name, plain.name)], metric.key, domain)
                    if found is not None:
                        where = {"file": results.paths.per_prompt(model).as_posix(), "cell": f"score@{model}"}
                        row["n"] = found.difference.n
                        row[metric.key] = Number.of(found.difference, signed=True, digits=metric.digits, **where)
                        row[f"{metric.key}_p"] = _p(found.p_value, **where)
                if "n" in row:
                    rows.append(row)
    columns = [_MODEL, Column("contrast", "Contrast"), Column("plain", "Against"), _DOMAIN, _N]
    for metric in compared:
        columns += [
            Column(metric.key, f"Gain in {metric.title.lower()}", numeric=True, interval=True),
            Column(f"{metric.key}_p", "p", numeric=True),
        ]
    note = (
        f"Contrast less plain on the same prompts. {_level(results)}; p of a permutation test that swaps the two "
        "settings within prompts, not corrected for the number of rows (the claims are)."
    )
    return Table("gains", "What contrast gains", columns, rows, note, groups=("model", "contrast"))


def benchmark_table(results: Results) -> Table:
    """Scores by task and setting, and the paired difference from the original head."""
    rows = []
    for model in results.models:
        scores = results.benchmarks.get(model, {})
        for task in results.plan["tasks"]:
            for setting in results.plan["benchmark_settings"]:
                row = {"cell": f"{model} {task} {setting}", "model": model, "task": task, "setting": setting}
                found = scores.get(setting, {}).get(task, {})
                if not found:
                    rows.append(row | {"status": NOT_RUN})
                for metric, entry in found.items():
                    rows.append(row | _benchmark_row(results, model, setting, task, metric, entry))
    columns = [_CELL, _MODEL, Column("task", "Task"), Column("metric", "Metric"), Column("setting", "Setting")]
    columns += [_N, Column("score", "Score", numeric=True, interval=True)]
    columns += [Column("gain", "Less original", numeric=True, interval=True), Column("p", "p", numeric=True)]
    columns += [Column("status", "Status")]
    rows.sort(key=lambda row: (list(results.models).index(row["model"]), results.plan["tasks"].index(row["task"])))
    note = f"{_level(results, 'items')}; differences are paired item by item, p of a permutation test."
    return Table("benchmark", "Benchmarks", columns, rows, note, groups=("model", "task", "metric"))


def _benchmark_row(results: Results, model: str, setting: str, task: str, metric: str, entry: dict) -> dict:
    cell = f"benchmark@{model}-{setting}"
    where = {"file": results.paths.results(model, setting).as_posix(), "cell": cell}
    found = item_interval(results, model, setting, task, metric)
    if found is None or abs(found.value - entry["value"]) > 1e-3 * max(1.0, abs(entry["value"])):
        # the task makes its score of the items in another way than the metric's declaration
        found = normal_interval(entry, results.plan["bootstrap"]["level"])
    low, high = (None, None) if found is None else (found.low, found.high)
    digits = item_metric(metric).digits
    row = {"metric": metric, "n": entry.get("n"), "score": Number(entry["value"], low, high, digits=digits, **where)}
    gain = compare_items(results, model, setting, metric, [task]) if setting != "original" else None
    if gain is not None:
        file = results.paths.items(model, setting).as_posix()
        row["gain"] = Number.of(gain.difference, signed=True, digits=digits, file=file, cell=cell)
        row["p"] = _p(gain.p_value, file, cell)
    return row


def normal_interval(entry: dict, level: float) -> Interval | None:
    """Interval from a benchmark's own standard error; None if it states none."""
    if not entry.get("stderr"):
        return None
    half = _normal(level) * entry["stderr"]
    return Interval(entry["value"], entry["value"] - half, entry["value"] + half, entry.get("n") or 0)


def _normal(level: float) -> float:
    """Standard errors on either side of a normal interval: 1.96 for 0.95."""
    return NormalDist().inv_cdf(0.5 + level / 2)


def exits_table(results: Results) -> Table:
    """How good each exit is by itself, beside how diverse greedy search becomes when contrasted with it."""
    rows = []
    for model, domains in results.exits.items():
        where = {"file": results.paths.exit_quality(model).as_posix(), "cell": f"train@{model}"}
        first = next(iter(results.selection.get(model, {}).values()), {})
        scores = first.get("scores", {})
        for domain in (name for name in results.domains if name in domains):
            layers = domains[domain]
            for layer in sorted(layers, key=lambda name: (name == "original", int(name) if name.isdigit() else 0)):
                entry = layers[layer]
                row = {"model": model, "domain": results.domains[domain]["title"], "layer": layer}
                row["depth"] = results.layers(model) if layer == "original" else int(layer)
                row["tokens"] = entry.get("tokens")
                for metric in exit_metrics().values():
                    if entry.get(metric.key) is not None:
                        low, high = _exit_interval(entry, metric, results.plan["bootstrap"]["level"])
                        row[metric.key] = Number(entry[metric.key], low, high, digits=metric.digits, **where)
                score = scores.get("plain" if layer == "original" else layer)
                if score:
                    file = results.paths.selection(model).as_posix()
                    row["contrast_diversity"] = Number(score["diversity"], file=file, cell=f"select@{model}")
                rows.append(row)
    columns = [_MODEL, _DOMAIN, Column("layer", "Exit", numeric=True), _DEPTH, Column("tokens", "Tokens", numeric=True)]
    for m in exit_metrics().values():
        title = f"{m.title} ({m.unit})" if m.unit else m.title
        columns.append(Column(m.key, title, numeric=True, interval=bool(m.error)))
    columns += [Column("contrast_diversity", "Diversity with it as lower layer", numeric=True)]
    note = (
        f"On held-out text; {results.confidence} intervals are normal ones over blocks of text, of perplexity on the "
        f"log scale. {'; '.join(f'{m.title}: {m.meaning}' for m in exit_metrics().values())}. "
        "Diversity: greedy search on validation prompts of all domains, contrasted with this exit (original: no "
        "contrast). An exit that is no language model at all can make text look diverse: read the two together."
    )
    return Table("exits", "Exits by themselves", columns, rows, note, groups=("model", "domain"))


def _exit_interval(entry: dict, metric: ExitMetric, level: float) -> tuple[float | None, float | None]:
    """Interval of an exit's metric from its standard error over blocks; (None, None) without one or around infinity."""
    if entry.get(metric.error) is None or math.isinf(entry[metric.key]):
        return None, None
    value, half = entry[metric.key], _normal(level) * entry[metric.error]
    if metric.log:
        return value * math.exp(-half), value * math.exp(min(half, 700.0))
    return max(metric.bounds[0], value - half), min(metric.bounds[1], value + half)


def training_table(results: Results) -> Table:
    """The training curves of all models, a point a row."""
    rows = [
        {"model": model, **{key: None if value != value else value for key, value in point.items()}}
        for model, curve in results.curves.items()
        for point in curve.to_dict("records")
    ]
    names = ("step", "tokens", "layer", "loss", "validation_perplexity")
    columns = [_MODEL, *(Column(name, name.replace("_", " ").capitalize(), numeric=True) for name in names)]
    return Table("training", "Training of the exits", columns, rows, csv_only=True)


def accuracy_table(results: Results) -> Table:
    """The accuracies among the benchmarks, a name a row."""
    rows = [
        {"cell": f"{row['model']} {row['task']} {row['metric']} {row['setting']}", "accuracy": row["score"]}
        for row in benchmark_table(results).rows
        if "score" in row and item_metric(row["metric"]).headline
    ]
    columns = [Column("cell", "Cell"), Column("accuracy", "Accuracy", numeric=True, interval=True)]
    return Table("accuracy", "Accuracy by task and setting", columns, rows, csv_only=True)


def selection_table(results: Results) -> Table:
    """The lower layer of each contrast: what the rule saw of each candidate, the paper's halfway layer among them."""
    rows = []
    for model, contrasts in results.selection.items():
        where = {"file": results.paths.selection(model).as_posix(), "cell": f"select@{model}"}
        for contrast, selection in contrasts.items():
            for name, score in selection["scores"].items():
                layer = int(name) if name.isdigit() else None
                row = {"model": model, "contrast": contrast, "lower": "no contrast" if layer is None else str(layer)}
                shown = ("diversity", "coherence", "coherence_error")
                row |= {metric: Number(score[metric], **where) for metric in shown if metric in score}
                if layer is not None:
                    row["chosen"] = layer == selection["lower"]
                    row["halfway"] = layer == results.halfway(model)
                rows.append(row)
    columns = [_MODEL, Column("contrast", "Contrast"), Column("lower", "Lower layer", numeric=True)]
    columns += [Column(key, text_metrics()[key].title, numeric=True) for key in ("diversity", "coherence")]
    columns += [Column("coherence_error", "SE of its gain", numeric=True), Column("chosen", "Chosen")]
    columns += [Column("halfway", "Paper's halfway layer")]
    margin = results.plan["select"]["coherence_margin"]
    note = (
        "Greedy search on validation prompts, which share no document with the reported ones; means over domains. "
        f"Rule: the most diverse layer whose coherence is at least that without contrast less {margin}. SE: standard "
        "error of the difference in coherence from no contrast, paired by prompt."
    )
    return Table("selection", "Choice of the lower layer", columns, rows, note, groups=("model", "contrast"))


def claims_table(results: Results, checks: list[Check]) -> Table:
    rows = []
    for check in checks:
        row = {"claim": check.claim.statement, "model": check.model, "compared": check.settings}
        row |= {"metric": check.claim.metric, "verdict": check.verdict, "margin": check.claim.margin}
        row["reason"] = check.reason
        if check.found is not None:
            where = _origin(results, check)
            row["n"] = check.found.difference.n
            row["effect"] = Number.of(check.found.difference, signed=True, **where)
            row["p"], row["corrected"] = (_p(p, **where) for p in (check.found.p_value, check.corrected))
            if check.found.effect is not None:
                row["standardised"] = Number(check.found.effect, digits=2, signed=True, **where)
        rows.append(row)
    columns = [Column("claim", "Claim of the paper"), _MODEL, Column("verdict", "Verdict"), Column("reason", "Because")]
    columns += [Column("compared", "Compared"), Column("metric", "Metric", shown=False), _N]
    columns += [Column("effect", "Effect", numeric=True, interval=True), Column("standardised", "d", numeric=True)]
    columns += [Column("margin", "Margin", numeric=True, shown=False), Column("p", "p", numeric=True)]
    columns += [Column("corrected", "p (Holm)", numeric=True)]
    note = (
        "Effect: paired difference over the prompts (items) of all domains (tasks), with its BCa bootstrap interval; "
        "d: the difference over the standard deviation of the documents' jackknife pseudo-values (for means Cohen's "
        "d_z). p: permutation test within prompts, then Holm's correction over the claims. Rules, margins and levels "
        "are set beforehand in conf/paper/claims.yaml. “Not shown” means that this run cannot tell, not that the claim "
        "is wrong; “contradicted” holds for this run's models and sizes."
    )
    return Table("claims", "The paper's conclusions on this run's models", columns, rows, note)


def published_table(results: Results, paper: Paper | None) -> Table:
    """Each of our numbers beside the published one, where a source of it was seen."""
    rows, ran = [], set()

    def add(kind: str, model: str, where: str, title: str, setting: str, metric: str, number: Number, n) -> None:
        row = {"model": model, "where": title, "setting": setting, "metric": metric, "n": n, "ours": number}
        compared = paper.verdict(kind, model, where, setting, metric, number.value) if paper else None
        rows.append(row | _compared(compared))
        ran.add((model, where, setting))

    for model, domain, setting in _cells(results):
        for metric, number in _quality(results, model, setting, domain).items() if setting != HUMAN else ():
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
    columns = [_MODEL, Column("where", "Domain or task"), Column("setting", "Setting"), Column("metric", "Metric"), _N]
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
            "This profile runs other models than the paper: no published value can be compared (report.paper is null)."
        )
    source = paper.source
    tolerances = "; ".join(
        f"{metric} {t.value if t.value is not None else f'{100 * t.relative:g} %'} ({' '.join(t.reason.split())})"
        for metric, t in paper.tolerances.items()
    )
    return f"{source.authors}, {source.title}, {source.venue}, {source.url} ({source.seen}). Tolerances: {tolerances}"


def _origin(results: Results, check: Check) -> dict[str, str]:
    if check.claim.benchmark:
        file, cell = results.paths.items(check.model, "acd"), f"benchmark@{check.model}-acd"
    else:
        file, cell = results.paths.per_prompt(check.model), f"score@{check.model}"
    return {"file": file.as_posix(), "cell": cell}


def _p(value: float, file: str, cell: str) -> Number:
    return Number(value, digits=4 if value < 0.1 else 2, file=file, cell=cell)


def _level(results: Results, unit: str = "documents") -> str:
    return f"{results.confidence} bootstrap intervals over {unit} ({results.plan['bootstrap']['samples']} resamples)"


def _cells(results: Results):
    for model in results.models:
        for domain in results.domains:
            human = [HUMAN] if HUMAN in results.quality[model] else []
            for setting in [*results.plan["settings"], *human]:
                yield model, domain, setting
