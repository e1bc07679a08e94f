"""Metrics that lm-eval computes of its tasks: how to read them. Others are taken for means over items."""

from __future__ import annotations

import numpy as np

from autocontrastive_gen.evaluation.metrics.declaration import ItemMetric
from autocontrastive_gen.foundation.statistics import exp_mean


def _perplexity(totals: np.ndarray, n: int) -> np.ndarray:
    """Exponential of the mean negative log-likelihood; the items' values are log-likelihoods."""
    return exp_mean(-totals, n)


def _share(key: str, title: str, meaning: str) -> ItemMetric:
    """A mean over items of values from 0 to 1 that is better when higher."""
    headline = key in ("acc", "acc_norm")
    return ItemMetric(key=key, title=title, unit="0–1", meaning=meaning, direction="higher", headline=headline)


def _lower(key: str, title: str, meaning: str, digits: int = 1, **rest) -> ItemMetric:
    return ItemMetric(key=key, title=title, meaning=meaning, direction="lower", digits=digits, **rest)


METRICS = (
    _share("acc", "Accuracy", "share of items whose correct choice has the highest likelihood"),
    _share("acc_norm", "Accuracy (normalised)", "accuracy by likelihood per byte of the choice"),
    _share("acc_bytes", "Accuracy (bytes)", "accuracy by likelihood per byte of the choice"),
    _share("acc_mutual_info", "Accuracy (mutual information)", "accuracy by likelihood over that without the question"),
    _share("acc_all", "Accuracy (all)", "share of questions all of whose answers are judged correctly"),
    _share("mc1", "MC1", "share of questions whose single true answer is the most likely one"),
    _share("mc2", "MC2", "share of the answers' probability that the true ones have"),
    _share("exact_match", "Exact match", "share of answers equal to the expected one"),
    _share("likelihood", "Likelihood", "probability of the correct choice among the choices"),
    _share("f1", "F1", "harmonic mean of precision and recall"),
    ItemMetric(
        key="mcc", title="MCC", unit="−1–1", meaning="Matthews correlation of answers and truth", direction="higher"
    ),
    ItemMetric(key="bleu", title="BLEU", meaning="BLEU of answers", direction="higher", digits=1),
    ItemMetric(key="chrf", title="chrF", meaning="chrF of answers", direction="higher", digits=1),
    ItemMetric(key="chrf++", title="chrF++", meaning="chrF++ of answers", direction="higher", digits=1),
    _lower("ter", "TER", "translation edit rate of answers"),
    _lower("brier_score", "Brier score", "squared distance of the choices' probabilities from the truth", digits=3),
    _lower(
        "perplexity",
        "Perplexity",
        "exponential of the mean negative log-likelihood of the target",
        statistic=_perplexity,
    ),
    _lower("word_perplexity", "Word perplexity", "perplexity per word of the document"),
    _lower("byte_perplexity", "Byte perplexity", "perplexity per byte of the document"),
    _lower("bits_per_byte", "Bits per byte", "negative log-likelihood of the document in bits per byte", unit="bits"),
)
