"""The text of ``params.yaml``: every parameter of a run, below its documentation from the schema."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import BaseModel

from autocontrastive_gen.experiment.asset_schema import AssetTerms
from autocontrastive_gen.experiment.schema import Entry, Model, Params

WIDTH = 120
HEADER = """\
The parameters of a run, written by `python -m stages.profile use {profile}` from conf/profiles/{profile}.yaml. Edit
them, and `dvc repro` runs what depends on the edit again. Mistakes are reported before any stage runs."""


def render(params: Params) -> str:
    """The text of a complete, commented parameter file."""
    lines = [*_comment(HEADER.format(profile=params.profile), 0), ""]
    for name, field in Params.model_fields.items():
        value = getattr(params, name)
        if isinstance(value, BaseModel):
            lines += ["", *_comment(field.description or _doc(value), 0), f"{name}:", *_section(value, 2)]
        elif isinstance(value, dict):
            lines += ["", *_comment(field.description or _entry_doc(value), 0), f"{name}:", *_catalogue(value)]
        else:
            lines += [*_comment(field.description or "", 0), f"{name}: {_flow(value)}"]
    return "\n".join(lines) + "\n"


def _section(section: BaseModel, indent: int) -> Iterator[str]:
    pad = " " * indent
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        yield from _comment(field.description or "", indent)
        plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
        line = f"{pad}{name}: {_flow(plain)}"
        if isinstance(value, BaseModel) and len(line) > WIDTH:
            yield f"{pad}{name}:"
            yield from _section(value, indent + 2)
        elif isinstance(value, str) and len(line) > WIDTH:
            yield f"{pad}{name}: >-"
            yield from textwrap.wrap(value, WIDTH, initial_indent=pad + "  ", subsequent_indent=pad + "  ")
        elif isinstance(value, list) and len(line) > WIDTH:
            yield f"{pad}{name}:"
            yield from (f"{pad}  - {_flow(item)}" for item in value)
        else:
            yield line


def _catalogue(entries: dict[str, BaseModel]) -> Iterator[str]:
    """Entries as they were given: one line per entry, or one per key if the entry is long."""
    for name, entry in entries.items():
        dumped = entry.model_dump(mode="json", exclude_unset=not isinstance(entry, Model))
        last = {key: dumped.pop(key) for key in AssetTerms.model_fields if key in dumped}
        given = dumped | last
        line = f"  {name}: {_flow(given)}"
        if isinstance(entry, Entry) and len(line) <= WIDTH:
            yield line
            continue
        yield f"  {name}:"
        for key, value in given.items():
            yield from _long(key, value)


def _long(key: str, value: Any) -> Iterator[str]:
    line = f"    {key}: {_flow(value)}"
    if len(line) > WIDTH and isinstance(value, str) and " " in value:
        yield f"    {key}: >-"
        yield from textwrap.wrap(value, WIDTH, initial_indent="      ", subsequent_indent="      ")
    else:
        yield line


def _flow(value: Any) -> str:
    """A value on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False, allow_unicode=True)
    text = text.removesuffix("\n").removesuffix("\n...")
    return json.dumps(value, ensure_ascii=False) if text.startswith("'") else text


def _comment(text: str, indent: int) -> Iterator[str]:
    pad = " " * indent + "# "
    words = " ".join(text.replace("``", "`").split())
    yield from textwrap.wrap(words, WIDTH, initial_indent=pad, subsequent_indent=pad, break_long_words=False)


def _doc(section: BaseModel) -> str:
    return type(section).__doc__ or ""


def _entry_doc(entries: dict[str, BaseModel]) -> str:
    """The meaning of the keys in a catalogue: the fields that at least one entry states, with their documentation."""
    kinds = dict.fromkeys(type(entry) for entry in entries.values())
    parts = [kind.__doc__.split(":")[0].rstrip(".") + "." for kind in kinds if kind.__doc__]
    for kind in kinds:
        of_kind = [entry for entry in entries.values() if type(entry) is kind]
        used = {key for entry in of_kind for key in (kind.model_fields if kind is Model else entry.model_fields_set)}
        fields = ((key, field.description) for key, field in kind.model_fields.items() if key in used)
        parts += [f"{key}: {text}" for key, text in fields if text]
    return " ".join(parts)
