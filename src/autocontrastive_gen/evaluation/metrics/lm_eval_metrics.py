"""How to read the metrics that lm-eval computes; one that is not declared here is taken for a mean over items."""

from __future__ import annotations

import numpy as np

from autocontrastive_gen.evaluation.metrics.declaration import ItemMetric, Tolerance
from autocontrastive_gen.foundation.statistics import exp_mean


def _perplexity(totals: np.ndarray, n: int) -> np.ndarray:
    """Exponential of the mean negative log-likelihood; the items' values are log-likelihoods."""
    return exp_mean(-totals, n)


def _share(key: str, title: str, meaning: str, **rest) -> ItemMetric:
    """A mean over items of values from 0 to 1 that is better when higher."""
    # likelihoods are not sampled: rounding may decide an item or two of a small task differently
    common = {"unit": "0–1", "direction": "higher", "tolerance": Tolerance(0.035)}
    return ItemMetric(key=key, title=title, meaning=meaning, **common, **rest)


def _overlap(key: str, title: str, direction: str = "higher") -> ItemMetric:
    """A score of answers against expected ones, from 0 to 100."""
    meaning, tolerance = f"{title} of answers against the expected ones", Tolerance(2.0)
    return ItemMetric(key=key, title=title, meaning=meaning, direction=direction, digits=1, tolerance=tolerance)


def _surprise(key: str, title: str, meaning: str, **rest) -> ItemMetric:
    """A perplexity or a code length, which is better when lower."""
    common = {"direction": "lower", "digits": 1, "tolerance": Tolerance(0.0, relative=0.02)}
    return ItemMetric(key=key, title=title, meaning=meaning, **common, **rest)


METRICS = (
    _share("acc", "Accuracy", "share of items whose correct choice has the highest likelihood", headline=True),
    _share("acc_norm", "Accuracy (normalised)", "accuracy by likelihood per character of the choice", headline=True),
    _share("acc_bytes", "Accuracy (bytes)", "accuracy by likelihood per byte of the choice"),
    _share("acc_mutual_info", "Accuracy (mutual information)", "accuracy by likelihood over that without the question"),
    _share("acc_all", "Accuracy (all)", "share of questions all of whose answers are judged correctly"),
    _share("mc1", "MC1", "share of questions whose single true answer is the most likely one"),
    _share("mc2", "MC2", "share of the answers' probability that the true ones have"),
    _share("mc3", "MC3", "share of the true answers that are more likely than every false one"),
    _share("exact_match", "Exact match", "share of answers equal to the expected one"),
    _share("likelihood", "Likelihood", "probability of the correct choice among the choices"),
    _share("f1", "F1", "harmonic mean of precision and recall"),
    ItemMetric(
        key="mcc", title="MCC", unit="−1–1", meaning="Matthews correlation of answers and truth", direction="higher"
    ),
    ItemMetric(
        key="brier_score",
        title="Brier score",
        meaning="squared distance of the choices' probabilities from the truth",
        direction="lower",
    ),
    _overlap("bleu", "BLEU"),
    _overlap("chrf", "chrF"),
    _overlap("chrf++", "chrF++"),
    _overlap("ter", "TER", direction="lower"),
    _surprise(
        "perplexity", "Perplexity", "exponential of the target's mean negative log-likelihood", statistic=_perplexity
    ),
    _surprise("word_perplexity", "Word perplexity", "perplexity per word of the document"),
    _surprise("byte_perplexity", "Byte perplexity", "perplexity per byte of the document"),
    _surprise(
        "bits_per_byte", "Bits per byte", "negative log-likelihood of the document in bits per byte", unit="bits"
    ),
)
