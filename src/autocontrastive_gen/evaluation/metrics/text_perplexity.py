"""Perplexity of texts under the original head of the model that wrote them."""

from __future__ import annotations

import numpy as np

from autocontrastive_gen.evaluation.metrics.declaration import Context, TextMetric, Texts
from autocontrastive_gen.foundation.statistics import exp_mean


def _per_text(texts: Texts, context: Context) -> dict[str, list]:
    surprise = []
    for (_, domain), rows in texts.items():
        # generated rows have theirs from ``generate``, human ones have none
        known = rows if all("nll" in row for row in rows) else context.with_likelihood(domain, rows)
        surprise += [row["nll"] for row in known]
    with np.errstate(over="ignore"):  # exp(710) is infinite, and so is the perplexity
        return {"perplexity": np.exp(surprise).tolist()}


METRICS = (
    TextMetric(
        key="perplexity",
        title="Perplexity",
        meaning="perplexity of the continuation under the model's own last layer",
        # low means what the model itself would say, not what people write
        direction="neutral",
        digits=1,
        rank=30,
        columns=("perplexity",),
        per_text=_per_text,
        # of equally long texts together: the exponential of the mean over documents of nats per token
        summand=np.log,
        statistic=exp_mean,
        option="text_perplexity",
    ),
)
