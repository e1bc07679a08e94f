"""From generated texts to their scores: a table with a row per text, and each metric with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from autocontrastive_gen.evaluation.metrics import Context, TextMetric, Texts, scored_metrics
from autocontrastive_gen.foundation import statistics
from autocontrastive_gen.foundation.digests import seed_for

Scores = dict[str, dict[str, dict[str, dict]]]
"""{setting: {domain: {metric: {value, low, high, n}}}}; ``low`` and ``high`` are None where there is no interval."""


def score_table(texts: Texts, context: Context) -> pd.DataFrame:
    """A row per text: "setting", "domain", "id", "document" and the columns of the metrics that are asked for.

    A text is a document of its own unless its row names the "document" of its prompt.
    """
    rows = [
        (setting, domain, row["id"], row.get("document", row["id"]))
        for (setting, domain), rows in texts.items()
        for row in rows
    ]
    table = pd.DataFrame(rows, columns=["setting", "domain", "id", "document"])
    columns: dict[str, list] = {}
    for metric in scored_metrics(context.options):
        if metric.per_text is not None:
            columns |= metric.per_text(texts, context)
    return pd.concat([table, pd.DataFrame(columns)], axis=1)


def corpus_values(texts: Texts, context: Context) -> dict[str, dict[tuple[str, str], float]]:
    """{metric: {(setting, domain): value}} of the metrics that need all texts at once."""
    metrics = scored_metrics(context.options)
    return {metric.key: metric.per_corpus(texts, context) for metric in metrics if metric.per_corpus is not None}


def aggregate(table: pd.DataFrame, corpus: Mapping[str, Mapping], options: Mapping[str, Any]) -> Scores:
    """The scores of every setting and domain, with bootstrap intervals over documents.

    Args:
        table: ``score_table``.
        corpus: ``corpus_values``.
        options: the plan's entry "score": "bootstrap" with "samples" and "level", "seed", and the metrics' switches.
    """
    found: Scores = {}
    for (setting, domain), rows in table.groupby(["setting", "domain"], sort=False):
        entry = found.setdefault(setting, {})[domain] = {}
        for metric in scored_metrics(options):
            if metric.per_corpus is not None:
                value = corpus[metric.key].get((setting, domain))
                score = None if value is None else {"value": value, "low": None, "high": None, "n": len(rows)}
            else:
                # the same resamples for every setting: their intervals differ only because their texts do
                seed = seed_for(options["seed"], "score", domain, metric.key)
                score = _interval(metric, rows, seed=seed, **options["bootstrap"])
            if score is not None:
                entry[metric.key] = score
    return found


def _interval(metric: TextMetric, table: pd.DataFrame, **options: Any) -> dict | None:
    """None if no text has a value."""
    documents = metric.documents(table)
    if documents is None or not len(documents):
        return None
    rows = documents.to_numpy()
    value = metric.value(rows)
    if np.isnan(value):
        return None
    if not np.isfinite(value):  # one infinite perplexity makes that of the corpus infinite: nothing to resample
        return {"value": value, "low": None, "high": None, "n": len(rows)}
    totals = statistics.by_document(rows, table.loc[documents.index, "document"])
    found = statistics.interval(totals, statistics.per_row(metric.statistic), **options)
    return found.as_dict() | {"value": value, "n": len(rows)}
