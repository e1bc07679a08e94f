"""Published values with their sources and tolerances, and deviations from the paper: read from conf/paper."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from autocontrastive_gen.experiment.paths import PUBLISHED, RULES
from autocontrastive_gen.foundation.errors import InputError, MissingFileError
from autocontrastive_gen.foundation.files import read_yaml

REPRODUCED, OUTSIDE, NOT_RUN, NOT_COMPARABLE = "reproduced", "outside", "not run", "not comparable"


class Section(BaseModel):
    """A part of a file of conf/paper; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Tolerance(Section):
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


class Source(Section):
    short: str
    """As in "Gera et al. 2023"."""
    title: str
    authors: str
    venue: str
    url: str
    seen: str
    """Where in it the values stand, or what of it was seen."""
    missing: str = ""
    """What a reader must know of values that are not here."""


class Deviation(Section):
    what: str
    effect: str


class Deviations(Section):
    deviations: list[Deviation]


Values = dict[str, dict[str, dict[str, dict[str, float | None]]]]
"""{model: {domain or task: {setting: {metric: value, or None where it is not known}}}}."""
Kind = Literal["generation", "benchmark"]


class Paper(Section):
    """Published values of one paper."""

    source: Source
    tolerances: dict[str, Tolerance]
    generation: Values = {}
    benchmark: Values = {}

    def entries(self, models: Iterable[str]) -> list[tuple[Kind, str, str, str, str]]:
        """(kind, model, domain or task, setting, metric) of every value of these models that is known."""
        return [
            (kind, model, where, setting, metric)
            for kind in get_args(Kind)
            for model in models
            for where, settings in getattr(self, kind).get(model, {}).items()
            for setting, metrics in settings.items()
            for metric, value in metrics.items()
            if value is not None
        ]

    def value(self, kind: Kind, model: str, where: str, setting: str, metric: str) -> float | None:
        """A published value; None if it is not known."""
        return getattr(self, kind).get(model, {}).get(where, {}).get(setting, {}).get(metric)

    def verdict(self, kind: Kind, model: str, where: str, setting: str, metric: str, ours: float) -> dict[str, Any]:
        """Columns published, difference, tolerance and verdict of one of our values."""
        published, tolerance = self.value(kind, model, where, setting, metric), self.tolerances.get(metric)
        if published is None or tolerance is None:
            return {"published": published, "difference": None, "tolerance": None, "verdict": NOT_COMPARABLE}
        difference, allowed = ours - published, tolerance.at(published)
        verdict = REPRODUCED if abs(difference) <= allowed else OUTSIDE
        return {"published": published, "difference": difference, "tolerance": allowed, "verdict": verdict}


def read_papers(first: str | None, folder: Path = PUBLISHED) -> list[Paper]:
    """Every source of published values, the one that the profile replicates first; MissingFileError if it has none."""
    names = sorted(path.stem for path in folder.glob("*.yaml") if path.stem not in RULES)
    order = dict.fromkeys([*([first] if first else []), *names])
    return [read_checked(folder / f"{name}.yaml", Paper) for name in order]


def read_deviations(folder: Path = PUBLISHED) -> list[Deviation]:
    """Deviations of every profile."""
    return read_checked(folder / "deviations.yaml", Deviations).deviations


def read_checked(path: Path, schema: type[Section]):
    """Content of a yaml file; InputError names every key that is wrong."""
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml")))
        raise MissingFileError(f"{path}: there is no such file of published values (report.paper); there are: {known}")
    try:
        return schema.model_validate(read_yaml(path))
    except ValidationError as error:
        faults = (f"{path}: {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise InputError("\n".join(faults)) from None
