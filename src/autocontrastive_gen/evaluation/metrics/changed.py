"""How often a contrast decides: the share of tokens that it changes."""

from __future__ import annotations

from autocontrastive_gen.evaluation.metrics.declaration import Context, TextMetric, Texts


def _per_text(texts: Texts, context: Context) -> dict[str, list]:
    return {"changed": [_share(row) for rows in texts.values() for row in rows]}


def _share(row: dict) -> float | None:
    """None without contrast."""
    changed = row.get("changed")
    return None if changed is None else len(changed) / len(row["tokens"])


METRICS = (
    TextMetric(
        key="changed",
        title="Changed",
        unit="0–1",
        meaning="share of tokens at which contrast chose another token than the upper exit",
        direction="neutral",
        rank=40,
        columns=("changed",),
        per_text=_per_text,
    ),
)
