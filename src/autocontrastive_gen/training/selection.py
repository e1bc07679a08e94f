"""The lower layer of ``-acd``: the most diverse exit among those that keep coherence, on validation prompts."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

log = logging.getLogger(__name__)

Scores = dict[str, dict[str, float]]
"""{"plain" or layer: {"diversity": ..., "coherence": ...}}, means over domains."""


def choose(scores: Scores, below: int, margin: float) -> int | None:
    """The rule: highest diversity subject to coherence >= plain - ``margin``, among the layers below ``below``.

    If no layer keeps coherence, the one that keeps most of it; None if there is no layer below.
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
    *,
    upper: int | str,
    contrast: Mapping[str, Any],
    new_tokens: int,
    seed: int,
) -> Scores:
    """Scores of the plain upper exit and of each candidate, all domains' prompts continued in one greedy batch."""
    from autocontrastive_gen.generation.cell import exit_fields
    from autocontrastive_gen.generation.decode import generate_texts

    everything = [row for rows in prompts.values() for row in rows]
    spec = {"decode": "greedy", "new_tokens": new_tokens}
    scores: Scores = {}
    for lower in (None, *candidates):
        with model.set_exits(**exit_fields({"upper": upper, "lower": lower}, contrast)):
            rows = generate_texts(model, tokenizer, everything, spec, seed, len(everything))
        name = "plain" if lower is None else str(lower)
        scores[name] = _scores(encoder, prompts, [row["continuation"] for row in rows])
        log.info("lower layer %s: diversity %.3f, coherence %.3f", name, *scores[name].values())
    return scores


def _scores(encoder, prompts: Mapping[str, Sequence[dict]], continuations: list[str]) -> dict[str, float]:
    from autocontrastive_gen.evaluation.metrics import coherence, diversity

    start, diversities, coherences = 0, [], []
    for rows in prompts.values():
        texts = continuations[start : start + len(rows)]
        start += len(rows)
        diversities.append(float(diversity(texts)))
        values = coherence(encoder, [row["prompt"] for row in rows], texts)
        coherences.append(float(sum(values) / len(values)))
    return {"diversity": sum(diversities) / len(prompts), "coherence": sum(coherences) / len(prompts)}
