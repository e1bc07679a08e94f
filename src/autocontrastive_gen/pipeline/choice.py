"""The choice of what a contrast leaves open, on validation prompts: the most diverse candidate that keeps coherence.

A candidate is a lower layer (None for a method that takes none) and a value of each parameter under ``choose``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autocontrastive_gen.evaluation.metrics.coherence import coherence
from autocontrastive_gen.evaluation.metrics.diversity import diversity
from autocontrastive_gen.generation.decode import generate_texts
from autocontrastive_gen.generation.decoder import DECODERS

Scores = dict[str, list]
"""{"diversity": one value per domain, "coherence": the values of the prompts of each domain}."""
Candidate = dict[str, Any]
"""{"lower", "parameters", "diversity", "coherence", "coherence_error"}, see ``summary``."""


def choose(plain: Mapping[str, float], candidates: Sequence[Candidate], margin: float) -> Candidate | None:
    """The rule: highest diversity subject to coherence >= plain - ``margin``; None if there is no candidate.

    If none keeps coherence, the most coherent one is chosen. Of equal ones, the highest layer and the first value are.
    """
    kept = [each for each in candidates if each["coherence"] >= plain["coherence"] - margin]
    metric = "diversity" if kept else "coherence"
    return max(kept or candidates, key=lambda each: (each[metric], each["lower"] or 0), default=None)


def summary(scores: Scores, plain: Scores | None = None) -> dict[str, float]:
    """Means over domains: "diversity", "coherence" and, against ``plain``, "coherence_error".

    The last is the standard error of the difference in coherence, paired by prompt: the rule uses means, and this says
    how certain they are. It is left out if a domain has only one prompt.
    """
    coherences = [np.array(values) for values in scores["coherence"]]
    domains = len(coherences)
    found = {
        "diversity": sum(scores["diversity"]) / domains,
        "coherence": sum(float(values.mean()) for values in coherences) / domains,
    }
    if plain and all(len(values) > 1 for values in coherences):
        pairs = zip(coherences, plain["coherence"], strict=True)
        differences = [ours - np.array(theirs) for ours, theirs in pairs]
        found["coherence_error"] = math.sqrt(sum(d.var(ddof=1) / len(d) for d in differences)) / domains
    return found


def score_exits(
    model, tokenizer, encoder, prompts: Mapping[str, Sequence[dict[str, str]]], new_tokens: int, seed: int
) -> Scores:
    """Scores of the exits that ``model`` is set to, under greedy search with all prompts (by domain) in one batch."""
    everything = [row for rows in prompts.values() for row in rows]
    greedy = DECODERS.build("greedy", {})
    rows = iter(generate_texts(model, tokenizer, everything, greedy, new_tokens, seed, len(everything)))
    scores: Scores = {"diversity": [], "coherence": []}
    for given in prompts.values():
        texts = [next(rows)["continuation"] for _ in given]
        scores["diversity"].append(float(diversity(texts)))
        values = coherence(encoder, [row["prompt"] for row in given], texts)
        scores["coherence"].append([float(value) for value in values])
    return scores
