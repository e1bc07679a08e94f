"""What is tested on a run, and what decides a verdict: conf/paper/claims.yaml, written before the run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from autocontrastive_gen.evaluation.metrics import Metric, item_metric, text_metrics
from autocontrastive_gen.experiment.paths import PUBLISHED
from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.report.paper import Section, read_checked

Decoder = Literal["greedy", "beam", "top-k", "top-p"]
"""Decoders of the paper, by their names in the catalogue."""


class Task(Section):
    """A benchmark task that a claim is about."""

    name: str
    formats: list[str] = []
    """The task counts only if all its items come from sources of these formats (``domains.<name>.format``)."""


class Claim(Section):
    """One conclusion of the paper; conf/paper/claims.yaml explains the kinds."""

    id: str
    statement: str
    kind: Literal["raises", "no-loss", "smaller"]
    metric: str
    contrast: str = "acd"
    """An entry of the catalogue of contrasts."""
    lower: Literal["halfway"] | None = None
    """The paper's lower layer; None: the setting whose name states none."""
    decodes: list[Decoder] = []
    than: list[Decoder] = []
    tasks: list[Task] = []
    """The first of these that the run has decides."""
    margin: Annotated[float, Field(gt=0)] | None = None
    note: str = ""

    @model_validator(mode="after")
    def _fits(self) -> Claim:
        if (self.margin is None) == (self.kind == "no-loss"):
            raise InputError(f"claim {self.id}: kind no-loss needs a `margin`, and no other kind takes one")
        if bool(self.than) != (self.kind == "smaller"):
            raise InputError(f"claim {self.id}: kind smaller needs `than`, and no other kind takes it")
        if bool(self.decodes) == bool(self.tasks):
            raise InputError(f"claim {self.id}: needs either `decodes` or `tasks`")
        if not self.tasks:
            _check_metric(f"claim {self.id}", self.metric)
        return self

    @property
    def declaration(self) -> Metric:
        return item_metric(self.metric) if self.tasks else text_metrics()[self.metric]


class TradeOffs(Section):
    """The project's own question: a setting against rivals, on two metrics at once."""

    setting: str
    against: list[str]
    gain: str
    """Key of the metric that the setting is to raise."""
    keep: str
    """Key of the metric that it is to keep."""
    margins: dict[str, Annotated[float, Field(gt=0)]]
    """Differences of ``gain`` that count as equal, and losses of ``keep`` that count as none."""

    @model_validator(mode="after")
    def _fits(self) -> TradeOffs:
        for metric in (self.gain, self.keep):
            _check_metric("trade_offs", metric)
        if set(self.margins) != {self.gain, self.keep}:
            raise InputError(f"trade_offs: `margins` needs one of {self.gain} and one of {self.keep}")
        return self


class Claims(Section):
    """Both families of tests and the rules that they share; each family is corrected for its own number of tests."""

    alpha: Annotated[float, Field(gt=0, lt=1)]
    level: Annotated[float, Field(gt=0, lt=1)]
    samples: Annotated[int, Field(ge=100)]
    minimum_n: Annotated[int, Field(ge=1)]
    claims: list[Claim]
    trade_offs: TradeOffs | None = None


def read_claims(folder: Path = PUBLISHED) -> Claims:
    return read_checked(folder / "claims.yaml", Claims)


def _check_metric(where: str, metric: str) -> None:
    if metric not in text_metrics():
        raise InputError(f"{where}: no metric {metric!r}; there are: {', '.join(text_metrics())}")
