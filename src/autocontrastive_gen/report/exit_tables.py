"""Tables of the exits: how good each is on its own, and how they were trained."""

from __future__ import annotations

import math

from autocontrastive_gen.evaluation.metrics import ExitMetric, exit_metrics
from autocontrastive_gen.foundation.statistics import normal_width
from autocontrastive_gen.report.choice_tables import by_layer
from autocontrastive_gen.report.columns import DOMAIN, MODEL
from autocontrastive_gen.report.methods import exits_in_words
from autocontrastive_gen.report.results import Results
from autocontrastive_gen.report.table import Column, Number, Table

_DEPTH = Column("depth", "Depth", shown=False)
"""The exit as a number, for ``dvc plots``."""


def exits_table(results: Results) -> Table:
    """How good each exit is on its own, beside the diversity of greedy search contrasted with it."""
    rows = []
    for model, domains in results.exits.items():
        where = {"file": results.paths.exit_quality(model).as_posix(), "cell": f"train@{model}"}
        scores = by_layer(results, model)
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
    columns = [
        MODEL,
        DOMAIN,
        Column("layer", "Exit", numeric=True, head=True),
        _DEPTH,
        Column("tokens", "Tokens", numeric=True),
    ]
    for m in exit_metrics().values():
        title = f"{m.title} ({m.unit})" if m.unit else m.title
        columns.append(Column(m.key, title, numeric=True, interval=bool(m.error)))
    columns += [Column("contrast_diversity", "Diversity with it as lower layer", numeric=True)]
    note = (
        f"On held-out text; {results.confidence} intervals are normal intervals over blocks of text, for perplexity on "
        f"the log scale. {'; '.join(f'{m.title}: {m.meaning}' for m in exit_metrics().values())}. "
        "Diversity: greedy search on validation prompts of all domains, contrasted with this exit (original: no "
        "contrast). An exit that is no language model at all can make text look diverse: read the two together. "
        + " ".join(f"Exits of {model}: {exits_in_words(results, model)}." for model in results.models)
    )
    return Table("exits", "Each exit on its own", columns, rows, note, groups=("model", "domain"))


def _exit_interval(entry: dict, metric: ExitMetric, level: float) -> tuple[float | None, float | None]:
    """Interval of an exit's metric from its standard error over blocks; (None, None) without one or around infinity."""
    if entry.get(metric.error) is None or math.isinf(entry[metric.key]):
        return None, None
    value, half = entry[metric.key], normal_width(level) * entry[metric.error]
    if metric.log:
        return value * math.exp(-half), value * math.exp(min(half, 700.0))
    return max(metric.bounds[0], value - half), min(metric.bounds[1], value + half)


def training_table(results: Results) -> Table:
    """The training curves of all models, a row per point."""
    rows = [
        {"model": model, **{key: None if value != value else value for key, value in point.items()}}
        for model, curve in results.curves.items()
        for point in curve.to_dict("records")
    ]
    names = ("step", "tokens", "layer", "loss", "validation_perplexity")
    columns = [MODEL, *(Column(name, name.replace("_", " ").capitalize(), numeric=True) for name in names)]
    return Table("training", "Training of the exits", columns, rows, csv_only=True)
