"""What the paper says: published values with tolerances, and its conclusions as checks, read from conf/paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from autocontrastive_gen.evaluation.metrics import Metric, item_metric, text_metrics
from autocontrastive_gen.foundation.errors import InputError, MissingFileError

FOLDER = Path("conf/paper")
NOT_AVAILABLE = "not available"
REPRODUCED, OUTSIDE, NOT_RUN, NOT_COMPARABLE = "reproduced", "outside", "not run", "not comparable"

Decode = Literal["greedy", "beam", "top-k", "top-p"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Claim(_Section):
    """One conclusion; conf/paper/claims.yaml explains the kinds."""

    id: str
    statement: str
    kind: Literal["raises", "no-loss", "smaller"]
    metric: str
    decodes: list[Decode] = []
    than: list[Decode] = []
    margin: Annotated[float, Field(gt=0)] | None = None
    lower: Literal["halfway"] | None = None
    benchmark: bool = False

    @model_validator(mode="after")
    def _fits(self) -> Claim:
        if (self.margin is None) == (self.kind == "no-loss"):
            raise InputError(f"claim {self.id}: kind no-loss needs a `margin`, and no other kind takes one")
        if bool(self.than) != (self.kind == "smaller"):
            raise InputError(f"claim {self.id}: kind smaller needs `than`, and no other kind takes it")
        if bool(self.decodes) == self.benchmark:
            raise InputError(f"claim {self.id}: needs either `decodes` or `benchmark: true`")
        if not self.benchmark and self.metric not in text_metrics():
            raise InputError(f"claim {self.id}: no metric {self.metric!r}; there are: {', '.join(text_metrics())}")
        if self.margin is not None and not self.declaration.additive:
            raise InputError(f"claim {self.id}: a margin needs a mean over documents, which {self.metric} is not")
        return self

    @property
    def declaration(self) -> Metric:
        return item_metric(self.metric) if self.benchmark else text_metrics()[self.metric]


class Claims(_Section):
    alpha: Annotated[float, Field(gt=0, lt=1)]
    level: Annotated[float, Field(gt=0, lt=1)]
    samples: Annotated[int, Field(ge=100)]
    minimum_n: Annotated[int, Field(ge=1)]
    claims: list[Claim]


class Tolerance(_Section):
    """The largest difference that counts as reproduced, absolute or relative to the published value."""

    value: Annotated[float, Field(gt=0)] | None = None
    relative: Annotated[float, Field(gt=0)] | None = None
    reason: str

    @model_validator(mode="after")
    def _one_of_two(self) -> Tolerance:
        if (self.value is None) == (self.relative is None):
            raise InputError("a tolerance is either `value` or `relative`")
        return self

    def at(self, published: float) -> float:
        return self.value if self.value is not None else self.relative * abs(published)


class Source(_Section):
    title: str
    authors: str
    venue: str
    url: str
    seen: str


class Deviation(_Section):
    what: str
    effect: str


class Deviations(_Section):
    deviations: list[Deviation]


Values = dict[str, dict[str, dict[str, dict[str, float | None]]]]
"""{model: {domain or task: {setting: {metric: value or None}}}}."""


class Paper(_Section):
    """Published values of one paper."""

    source: Source
    tolerances: dict[str, Tolerance]
    generation: Values
    benchmark: Values

    def verdict(
        self, kind: Literal["generation", "benchmark"], model: str, where: str, setting: str, metric: str, ours: float
    ) -> dict[str, Any]:
        """Columns published, difference, tolerance and verdict of one of our values."""
        published = getattr(self, kind).get(model, {}).get(where, {}).get(setting, {}).get(metric)
        tolerance = self.tolerances.get(metric)
        if published is None or tolerance is None:
            return {"published": published, "difference": None, "tolerance": None, "verdict": NOT_COMPARABLE}
        difference, allowed = ours - published, tolerance.at(published)
        verdict = REPRODUCED if abs(difference) <= allowed else OUTSIDE
        return {"published": published, "difference": difference, "tolerance": allowed, "verdict": verdict}

    def not_run(self, kind: Literal["generation", "benchmark"], ran: set[tuple[str, str, str]]) -> list[tuple]:
        """(model, where, setting, metric, published) of the published values whose cell did not run."""
        return [
            (model, where, setting, metric, value)
            for model, wheres in getattr(self, kind).items()
            for where, settings in wheres.items()
            for setting, metrics in settings.items()
            for metric, value in metrics.items()
            if value is not None and (model, where, setting) not in ran
        ]


def read_claims(folder: Path = FOLDER) -> Claims:
    return _read(folder / "claims.yaml", Claims)


def read_paper(name: str | None, folder: Path = FOLDER) -> Paper | None:
    """Published values that a profile is compared with; None if ``name`` is None."""
    return _read(folder / f"{name}.yaml", Paper) if name else None


def read_deviations(folder: Path = FOLDER) -> list[Deviation]:
    """Deviations of every profile."""
    return _read(folder / "deviations.yaml", Deviations).deviations


def _read(path: Path, schema: type[_Section]):
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml")))
        raise MissingFileError(f"{path}: there is no such file of published values (report.paper); there are: {known}")
    try:
        return schema.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        faults = (f"{path}: {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise InputError("\n".join(faults)) from None
