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
from autocontrastive_gen.foundation.statistics import by_document
from autocontrastive_gen.generation.decode import generate_texts
from autocontrastive_gen.generation.decoder import DECODERS

Scores = dict[str, list]
"""{"diversity": one value per domain, "coherence": the values of the prompts of each domain, "documents": where these
prompts come from}."""
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

    The last is the standard error of the difference in coherence, paired by prompt, over documents: the rule uses
    means, and this says how certain they are. It is left out if the prompts of a domain come from one document.
    """
    coherences = [np.array(values) for values in scores["coherence"]]
    domains = len(coherences)
    found = {
        "diversity": sum(scores["diversity"]) / domains,
        "coherence": sum(float(values.mean()) for values in coherences) / domains,
    }
    if plain and all(len(set(names)) > 1 for names in scores["documents"]):
        pairs = zip(coherences, plain["coherence"], scores["documents"], strict=True)
        errors = [paired_error(ours - np.array(theirs), names) for ours, theirs, names in pairs]
        found["coherence_error"] = math.hypot(*errors) / domains
    return found


def paired_error(differences: np.ndarray, documents: Sequence[str]) -> float:
    """Standard error of the mean difference over prompts, where those of one document depend on each other."""
    totals = by_document(differences - differences.mean(), documents)[:, 0]
    n = len(totals)
    return math.sqrt(n / (n - 1) * float(totals @ totals)) / len(differences)


def score_exits(
    model, tokenizer, encoder, prompts: Mapping[str, Sequence[dict[str, str]]], new_tokens: int, seed: int
) -> Scores:
    """Scores of the exits that ``model`` is set to, under greedy search with all prompts (by domain) in one batch."""
    everything = [row for rows in prompts.values() for row in rows]
    greedy = DECODERS.build("greedy", {})
    rows = iter(generate_texts(model, tokenizer, everything, greedy, new_tokens, seed, len(everything)))
    scores: Scores = {"diversity": [], "coherence": [], "documents": []}
    for given in prompts.values():
        texts = [next(rows)["continuation"] for _ in given]
        scores["diversity"].append(float(diversity(texts)))
        values = coherence(encoder, [row["prompt"] for row in given], texts)
        scores["coherence"].append([float(value) for value in values])
        scores["documents"].append([row.get("document", row["id"]) for row in given])
    return scores
