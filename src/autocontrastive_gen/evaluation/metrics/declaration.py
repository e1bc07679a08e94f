"""What a metric declares about itself, and what it is given to compute its values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd

from autocontrastive_gen.foundation import statistics

HUMAN = "human"
"""Stands for a setting where the texts are the human continuations."""

Texts = dict[tuple[str, str], list[dict[str, Any]]]
"""{(setting or "human", domain): rows with "id", "prompt", "continuation", "tokens", and from ``generate`` "nll" and
"changed"}."""


class Context(Protocol):
    """What a metric may need besides the texts; models are loaded when a metric first asks for them."""

    options: Mapping[str, Any]
    """The plan's entry "score" of the model: ``coherence_asset``, ``seed``, ..."""

    def asset(self, name: str) -> Path:
        """Folder of an asset."""

    @property
    def encoder(self) -> Any:
        """Sentence encoder ``score.coherence_asset``; ``encode(texts)`` returns embeddings (n, d)."""

    @property
    def scored(self) -> tuple[Any, Any]:
        """The model that wrote the texts, read at its original head, and its tokenizer."""

    def with_likelihood(self, domain: str, rows: list[dict]) -> list[dict]:
        """Rows of a domain with "nll": nats per token under the original head of the scored model."""

    def last_states(self, texts: Sequence[str], asset: str | None = None) -> np.ndarray:
        """States (n, d) of the last token of each text in the scored model, or in a causal model by its asset."""


@dataclass(frozen=True)
class Tolerance:
    """A bound on a difference: ``absolute`` in the metric's unit or ``relative`` to the value, whichever is more."""

    absolute: float
    relative: float = 0.0

    def allows(self, before: float, after: float) -> bool:
        if not (math.isfinite(before) and math.isfinite(after)):
            return before == after
        return abs(after - before) <= max(self.absolute, self.relative * abs(before))


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What every reader of a metric needs to know of it."""

    key: str
    """Its name in files, in ``conf/paper/claims.yaml`` and on the command line."""
    title: str
    meaning: str
    """Half a sentence, for notes below tables."""
    direction: Literal["higher", "lower", "neutral"]
    """Which values are better."""
    unit: str = ""
    digits: int = 3
    """Decimals that a reader sees; files keep six significant digits."""
    shown: bool = True
    """False: it stands in the csv of a table only."""
    headline: bool = False
    """Drawn in figures, compared setting by setting, and among the first columns in MLflow."""
    rank: int = 100
    """Columns of tables stand in this order."""
    tolerance: Tolerance = Tolerance(0.02, relative=0.02)
    """How far its value may move when a run is repeated on another kind of processor. Metrics of generated texts may
    move within their intervals instead: one tie that breaks differently makes another text."""
    statistic: statistics.Statistic = statistics.mean
    """The corpus value from the documents' totals."""

    @property
    def axis(self) -> str:
        """Title of an axis: ``Coherence (cosine)``."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    @property
    def additive(self) -> bool:
        """Whether the corpus value is the mean over documents, so that a margin can be tested document by document."""
        return self.statistic is statistics.mean

    def documents(self, table: pd.DataFrame) -> pd.DataFrame | None:
        """What ``statistic`` adds up, of the rows that have it, columns (documents, k); None if the table has none."""
        return table[[self.key]].astype(float).dropna() if self.key in table else None

    def value(self, rows: np.ndarray) -> float:
        """The corpus value of documents' rows (documents, k)."""
        return float(self.statistic(rows.sum(axis=0), len(rows)))


@dataclass(frozen=True, kw_only=True)
class TextMetric(Metric):
    """A metric of generated texts: either from columns of documents, or of all texts of a domain at once."""

    columns: tuple[str, ...] = ()
    """Columns of ``per_prompt.csv`` that ``statistic`` adds up. Empty for a corpus metric, which has no interval."""
    per_text: Callable[[Texts, Context], dict[str, list]] | None = None
    """Computes columns: one value per text, in the order of ``texts``; None where a text has none."""
    per_corpus: Callable[[Texts, Context], dict[tuple[str, str], float]] | None = None
    """Computes the values of a corpus metric by (setting, domain)."""
    summand: Callable[[np.ndarray], np.ndarray] = np.asarray
    """From values of the columns to what adds up over documents: the logarithm for a perplexity."""
    estimate: Callable[[np.ndarray], float] | None = None
    """The reported value from the totals, where it is not the statistic's; NaN where these texts have none."""
    option: str = ""
    """Switch of the section ``score`` of the parameters; empty: always scored."""

    def documents(self, table: pd.DataFrame) -> pd.DataFrame | None:
        if not self.columns or not set(self.columns) <= set(table.columns):
            return None
        rows = table[list(self.columns)].astype(float).dropna()
        return pd.DataFrame(self.summand(rows.to_numpy()), index=rows.index, columns=rows.columns)

    def value(self, rows: np.ndarray) -> float:
        return super().value(rows) if self.estimate is None else float(self.estimate(rows.sum(axis=0)))


@dataclass(frozen=True, kw_only=True)
class ItemMetric(Metric):
    """A metric that lm-eval computes of a task; ``statistic`` makes it of the items' values."""


@dataclass(frozen=True, kw_only=True)
class ExitMetric(Metric):
    """A quality of an exit on held-out text, measured where exits are trained."""

    error: str = ""
    """Key of its standard error over blocks of text."""
    log: bool = False
    """The standard error is that of the logarithm, and an axis is logarithmic."""
    bounds: tuple[float, float] = (-np.inf, np.inf)

    @property
    def axis(self) -> str:
        return f"{self.title} (log scale)" if self.log else super().axis
