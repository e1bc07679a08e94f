"""The first screen of the page: what contrast does, in words, numbers, and one prompt continued without and with it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autocontrastive_gen.evaluation.metrics import HUMAN, text_metrics
from autocontrastive_gen.report.results import Results
from autocontrastive_gen.report.samples import Sample
from autocontrastive_gen.report.table import Number, Table

LOOP = 4
"""A run of as many words that stood in the text before is a repetition, as in the longest n-grams of diversity."""


@dataclass(frozen=True)
class Tile:
    """One headline number: without contrast, with it, and of human text."""

    title: str
    before: str
    after: str
    note: str


@dataclass(frozen=True)
class Opening:
    """The first contrast of the run beside its own decoder without, on the first model."""

    answer: str
    tiles: list[Tile]
    sample: Sample | None
    """The first prompt that may be shown."""
    plain: list[tuple[str, bool]]
    """Its plain continuation: (text, whether it repeats what stood before)."""

    @classmethod
    def of(
        cls, results: Results, tables: dict[str, Table], samples: Sequence[Sample], rates: dict[str, Any]
    ) -> Opening | None:
        """None if no contrast ran beside its own decoder.

        Args:
            rates: ``cost_summary.speeds``.
        """
        pair, model = next(iter(results.pairs), None), next(iter(results.models))
        if pair is None:
            return None
        contrast, plain = (setting.name for setting in pair)
        gains = next(
            (
                row
                for row in tables["gains"].rows
                if (row["model"], row["domain"], row["setting"], row["against"]) == (model, "all", contrast, plain)
            ),
            {},
        )
        speed = _speed(rates.get(model, {}), contrast, plain)
        sample = next((s for s in samples if (s.model, s.contrast) == (model, contrast)), None)
        return cls(
            _answer(model, plain, gains, speed),
            [*_tiles(results, model, contrast, plain), *([_speed_tile(speed)] if speed else [])],
            sample,
            with_repetitions(sample.plain) if sample else [],
        )


def with_repetitions(text: str) -> list[tuple[str, bool]]:
    """The text in the longest parts that are all repeated, or all new: (part, repeated).

    A word is repeated if it lies in a run of ``LOOP`` words that stood in the text before; case and punctuation at the
    ends of words do not count.
    """
    parts = re.findall(r"\s*\S+|\s+$", text)
    words = [part.strip().strip(".,;:!?\"'()").lower() for part in parts]
    seen, repeated = set(), [False] * len(parts)
    for start in range(len(words) - LOOP + 1):
        run = tuple(words[start : start + LOOP])
        if run in seen:
            repeated[start : start + LOOP] = [True] * LOOP
        seen.add(run)
    found: list[tuple[str, bool]] = []
    for part, again in zip(parts, repeated, strict=True):
        if found and found[-1][1] == again:
            found[-1] = (found[-1][0] + part, again)
        else:
            found.append((part, again))
    return found


def _answer(model: str, plain: str, gains: dict[str, Any], speed: float | None) -> str:
    """One sentence; it claims a change only where the paired interval excludes zero."""
    diversity = {1: "repeats itself less", -1: "repeats itself more", 0: "repeats itself about as much"}
    coherence = {1: "fits its prompt better", -1: "fits its prompt less well", 0: "fits its prompt about as well"}
    said = [
        words[_direction(gains.get(key))] for key, words in (("diversity", diversity), ("coherence", coherence))
        if gains.get(key) is not None
    ]  # fmt: skip
    if not said:
        return ""
    cost = f", at {100 * speed:.0f} % of the speed" if speed else ""
    return f"When {model} contrasts its layers, its {plain} text {' and '.join(said)}{cost}."


def _direction(gain: Number | None) -> int:
    if gain is None or gain.low is None or gain.high is None:
        return 0
    return 1 if gain.low > 0 else -1 if gain.high < 0 else 0


def _tiles(results: Results, model: str, contrast: str, plain: str) -> list[Tile]:
    with_, without, human = (results.pooled(model, name) for name in (contrast, plain, HUMAN))
    return [
        Tile(
            text_metrics()[key].title,
            f"{without[key].value:.2f}",
            f"{with_[key].value:.2f}",
            f"human text {human[key].value:.2f}" if key in human else "",
        )
        for key in ("diversity", "coherence")
        if key in with_ and key in without
    ]


def _speed(rates: dict[str, Any], contrast: str, plain: str) -> float | None:
    if contrast not in rates or plain not in rates:
        return None
    return rates[contrast]["tokens_per_s"] / rates[plain]["tokens_per_s"]


def _speed_tile(speed: float) -> Tile:
    return Tile("Speed", "1", f"{speed:.2f}", "tokens per second relative to plain, loading included")
