"""MAUVE of machine against human texts (Pillutla et al. 2021, https://arxiv.org/abs/2102.01454)."""

from __future__ import annotations

import numpy as np

from autocontrastive_gen.evaluation.metrics.declaration import HUMAN, Context, TextMetric, Texts, Tolerance
from autocontrastive_gen.foundation.errors import InputError


def mauve(machine: np.ndarray, human: np.ndarray, seed: int) -> float:
    """MAUVE of machine against human texts by features (n, d).

    Raises:
        InputError: the ``mauve`` extra is not installed.
    """
    try:
        from mauve import compute_mauve
    except ModuleNotFoundError:
        raise InputError(
            "score.mauve: true needs mauve-text; install the extra `mauve` of this package, or set it to false"
        ) from None
    return float(compute_mauve(p_features=machine, q_features=human, seed=seed % 2**31, verbose=False).mauve)


def _per_corpus(texts: Texts, context: Context) -> dict[tuple[str, str], float]:
    """Of each setting against the human texts of its domain, prompts included."""
    named = context.options["mauve_features"]

    def features(rows: list[dict]) -> np.ndarray:
        whole = [f"{row['prompt']} {row['continuation'].strip()}" for row in rows]
        return context.last_states(whole, None if named is None else named["asset"])

    human = {domain: features(rows) for (setting, domain), rows in texts.items() if setting == HUMAN}
    return {
        (setting, domain): mauve(features(rows), human[domain], context.options["seed"])
        for (setting, domain), rows in texts.items()
        if setting != HUMAN
    }


METRICS = (
    TextMetric(
        key="mauve",
        title="MAUVE",
        unit="0–1",
        meaning="similarity of the distributions of machine and human texts",
        direction="higher",
        headline=True,
        tolerance=Tolerance(0.1),
        rank=50,
        per_corpus=_per_corpus,
        option="mauve",
    ),
)
