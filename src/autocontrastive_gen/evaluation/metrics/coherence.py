"""Coherence: how near a continuation is to its prompt in the space of a sentence encoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autocontrastive_gen.evaluation.metrics.declaration import Context, TextMetric, Texts


def coherence(encoder, prompts: Sequence[str], texts: Sequence[str]) -> list[float]:
    """Cosine between the embeddings of each prompt and its continuation; a prompt of many texts is embedded once."""
    place = {text: number for number, text in enumerate(dict.fromkeys([*prompts, *texts]))}
    vectors = np.asarray(encoder.encode([*place], show_progress_bar=False), dtype=np.float64)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    one, other = (vectors[[place[text] for text in of]] for of in (prompts, texts))
    return (one * other).sum(axis=1).tolist()


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
