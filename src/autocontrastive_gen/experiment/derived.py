"""Sections of the schema that are made from a dataclass of the library, which states fields, ranges and help."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Annotated, Any, Literal, get_args, get_type_hints

from pydantic import Field, create_model, model_validator

from autocontrastive_gen.experiment.asset_schema import Section
from autocontrastive_gen.foundation.named import Named, Range, build


def section_of(cls: type[Named]) -> type[Section]:
    """A section with the parameters of ``cls``; a combination that the class refuses is a fault of the section."""
    hints = get_type_hints(cls)
    found: dict[str, Any] = {}
    for each in fields(cls):
        kind = _type(each.metadata["range"], hints[each.name])
        found[each.name] = (kind, Field(default=_plain(each.default, kind), description=each.metadata["help"]))

    def whole(section: Section) -> Section:
        build(cls, section.model_dump())
        return section

    checked = {"whole": model_validator(mode="after")(whole)}
    return create_model(cls.__name__, __base__=Section, __doc__=cls.__doc__, __validators__=checked, **found)


def _type(allowed: Range, hint: Any) -> Any:
    """The type of a field, with its bounds, for pydantic."""
    nested = [part for part in (hint, *get_args(hint)) if is_dataclass(part)]
    if nested:
        kind: Any = section_of(nested[0])
    elif allowed.choices:
        kind = Literal[allowed.choices]
    else:
        bounds = {"ge": allowed.low, "le": allowed.high, "gt": allowed.above}
        finite = {name: bound for name, bound in bounds.items() if abs(bound) != float("inf")}
        extra = {"allow_inf_nan": False} if allowed.kind is float else {}
        kind = Annotated[allowed.kind, Field(**finite, **extra)]
    if allowed.many:
        length = len(get_args(hint)) if ... not in get_args(hint) else None
        kind = Annotated[list[kind], Field(min_length=length, max_length=length)]
    return kind | None if allowed.optional else kind


def _plain(default: Any, kind: Any) -> Any:
    """A default in pydantic's form: sections for dataclasses, lists for tuples."""
    if is_dataclass(default):
        section = kind if isinstance(kind, type) else get_args(kind)[0]
        return section.model_validate({each.name: getattr(default, each.name) for each in fields(default)})
    return list(default) if isinstance(default, tuple) else default
