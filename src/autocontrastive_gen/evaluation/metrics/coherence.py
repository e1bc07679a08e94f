"""Coherence: how near a continuation is to its prompt in the space of a sentence encoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autocontrastive_gen.evaluation.metrics.declaration import Context, TextMetric, Texts


def coherence(encoder, prompts: Sequence[str], texts: Sequence[str]) -> list[float]:
    """Cosine between the embeddings of each prompt and its continuation."""
    both = np.asarray(encoder.encode([*prompts, *texts], show_progress_bar=False), dtype=np.float64)
    both /= np.maximum(np.linalg.norm(both, axis=1, keepdims=True), 1e-12)
    return (both[: len(prompts)] * both[len(prompts) :]).sum(axis=1).tolist()


def _per_text(texts: Texts, context: Context) -> dict[str, list]:
    rows = [row for rows in texts.values() for row in rows]
    prompts, continuations = ([row[key] for row in rows] for key in ("prompt", "continuation"))
    return {"coherence": coherence(context.encoder, prompts, continuations)}


METRICS = (
    TextMetric(
        key="coherence",
        title="Coherence",
        unit="cosine",
        meaning="cosine between the sentence embeddings of prompt and continuation",
        direction="higher",
        headline=True,
        rank=20,
        columns=("coherence",),
        per_text=_per_text,
    ),
)
