"""What is measured of each layer at each position: the measures by name, and their arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from autocontrastive_gen.foundation.errors import InputError, did_you_mean

NO_TOKEN = -1
"""Stands for the token that came where the text ends."""


@dataclass(frozen=True)
class LayerMeasure:
    """One number per layer and position."""

    key: str
    title: str
    unit: str
    meaning: str


MEASURES = (
    LayerMeasure("probability", "Probability of the first choice", "0–1", "how likely the layer's first choice is"),
    LayerMeasure("entropy", "Entropy", "nats", "how undecided the layer is: 0 is certain"),
    LayerMeasure(
        "cross_entropy",
        "Cross-entropy with the next token",
        "nats",
        "how much the token that came next surprises the layer",
    ),
    LayerMeasure("rank", "Rank of the next token", "1 is first", "how many tokens the layer puts first, and itself"),
    LayerMeasure(
        "kl_to_last",
        "KL divergence to the last layer",
        "nats",
        "KL(last layer ‖ layer): what is lost by reading this layer in place of the last",
    ),
    LayerMeasure(
        "js_to_last",
        "Jensen-Shannon divergence to the last layer",
        "nats",
        f"how far apart the two are: 0 if they agree, at most ln 2 = {math.log(2):.3f}",
    ),
)
OF_SCORES = ("rank",)
"""Measures that make sense for scores which are no probabilities."""


def check_measure(key: str) -> None:
    """Raise InputError unless ``key`` is that of a measure."""
    known = [measure.key for measure in MEASURES]
    if key not in known:
        raise InputError(f"measure: there are {', '.join(known)}, got {key!r}; {did_you_mean(key, known)}".rstrip("; "))


def measured(log_p: Tensor, log_last: Tensor, came: Tensor) -> Tensor:
    """Every measure of ``MEASURES``, in that order: (rows, 6) in float32.

    Args:
        log_p: log-probabilities (rows, V) of a layer, float32.
        log_last: those of the last layer.
        came: ids (rows,) of the tokens that came next; ``NO_TOKEN`` where the text ends, whose cross-entropy and rank
            are NaN.
    """
    p = log_p.exp()
    ended = came == NO_TOKEN
    of_next = log_p.gather(-1, came.clamp(min=0).unsqueeze(-1))
    rank = (log_p > of_next).sum(-1) + 1  # tokens that are as likely share the better rank
    return torch.stack(
        [
            p.amax(-1),
            -_expected(p, log_p),
            -of_next.squeeze(-1).masked_fill(ended, torch.nan),
            rank.float().masked_fill(ended, torch.nan),
            kl_divergence(log_last, log_p),
            jensen_shannon(log_last, log_p),
        ],
        -1,
    )


def kl_divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p ‖ q) in nats, (rows,), of log-distributions (rows, V); infinite where q rules out what p does not."""
    return _expected(log_p.exp(), log_p - log_q).clamp(min=0)


def jensen_shannon(log_p: Tensor, log_q: Tensor) -> Tensor:
    """``KL(p ‖ m) / 2 + KL(q ‖ m) / 2`` with ``m = (p + q) / 2``, in nats, (rows,); symmetric, 0 to ln 2 (Lin 1991)."""
    log_mean = torch.logaddexp(log_p, log_q) - math.log(2)
    return (kl_divergence(log_p, log_mean) + kl_divergence(log_q, log_mean)) / 2


def _expected(p: Tensor, value: Tensor) -> Tensor:
    """The sum (rows,) of ``p * value``, where a probability of zero counts for nothing."""
    return (p * value).masked_fill(p == 0, 0.0).sum(-1)
