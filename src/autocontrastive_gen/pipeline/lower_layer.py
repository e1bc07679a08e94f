"""The choice of a contrast's lower layer: the most diverse exit that keeps coherence, on validation prompts."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from autocontrastive_gen.evaluation.metrics.coherence import coherence
from autocontrastive_gen.evaluation.metrics.diversity import diversity
from autocontrastive_gen.generation.decode import generate_texts
from autocontrastive_gen.generation.decoder import DECODERS

log = logging.getLogger(__name__)

Scores = dict[str, dict[str, float]]
"""{"plain" or layer: {"diversity", "coherence"}}, means over domains. Layers also have "coherence_error", the standard
error of their difference from plain, paired by prompt: the rule uses the means, and this says how certain they are. It
is left out if a domain has only one prompt."""


def choose(scores: Scores, below: int, margin: float) -> int | None:
    """The rule: highest diversity subject to coherence >= plain - ``margin``, among the layers below ``below``.

    If no layer keeps coherence, the most coherent one is chosen; None if there is no layer below.
    """
    candidates = [int(name) for name in scores if name != "plain" and int(name) < below]
    floor = scores["plain"]["coherence"] - margin
    kept = [layer for layer in candidates if scores[str(layer)]["coherence"] >= floor]
    if kept:
        return max(kept, key=lambda layer: (scores[str(layer)]["diversity"], layer))
    return max(candidates, key=lambda layer: (scores[str(layer)]["coherence"], layer), default=None)


def score_candidates(
    model,
    tokenizer,
    encoder,
    prompts: Mapping[str, Sequence[dict[str, str]]],
    candidates: Sequence[int],
    fields: Callable[[int | None], dict[str, Any]],
    *,
    new_tokens: int,
    seed: int,
    title: str = "",
) -> Scores:
    """Scores of the plain upper exit and of each candidate, under greedy search with all prompts in one batch.

    Args:
        prompts: validation prompts by domain.
        candidates: lower layers.
        fields: the arguments of ``set_exits`` for a lower layer, or for None, which stands for the plain upper exit.
        title: name of the contrast in the log.
    """
    everything = [row for rows in prompts.values() for row in rows]
    greedy = DECODERS.build("greedy", {})
    scores: Scores = {}
    plain: list[np.ndarray] = []
    for lower in (None, *candidates):
        with model.set_exits(**fields(lower)):
            rows = generate_texts(model, tokenizer, everything, greedy, new_tokens, seed, len(everything))
        name = "plain" if lower is None else str(lower)
        scores[name], coherences = _scores(encoder, prompts, [row["continuation"] for row in rows])
        log.info("%s, lower layer %s: diversity %.3f, coherence %.3f", title, name, *scores[name].values())
        plain = plain or coherences
        if lower is not None and all(len(values) > 1 for values in plain):
            scores[name]["coherence_error"] = _paired_error(coherences, plain)
    return scores


def _paired_error(values: list[np.ndarray], plain: list[np.ndarray]) -> float:
    """Standard error of the difference, averaged over the prompts of each domain and then over domains."""
    differences = [ours - theirs for ours, theirs in zip(values, plain, strict=True)]
    return math.sqrt(sum(d.var(ddof=1) / len(d) for d in differences)) / len(differences)


def _scores(encoder, prompts: Mapping[str, Sequence[dict]], continuations: list[str]):
    """Means over domains, and the coherence of every prompt, by domain."""
    start, diversities, coherences = 0, [], []
    for rows in prompts.values():
        texts = continuations[start : start + len(rows)]
        start += len(rows)
        diversities.append(float(diversity(texts)))
        coherences.append(np.array(coherence(encoder, [row["prompt"] for row in rows], texts)))
    coherent = sum(float(values.mean()) for values in coherences) / len(prompts)
    return {"diversity": sum(diversities) / len(prompts), "coherence": coherent}, coherences
