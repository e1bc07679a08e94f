"""Messages about a parameter file: the key, its value, what is allowed, and the nearest known name."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from autocontrastive_gen.experiment.asset_schema import HubAsset, PathAsset, PypiAsset, UrlAsset
from autocontrastive_gen.experiment.schema import Params
from autocontrastive_gen.foundation.errors import did_you_mean, shown


def faults(error: ValidationError) -> Iterator[str]:
    """One line per fault; a misspelt key, which is both unknown and missing, is one fault."""
    errors = error.errors(include_url=False)
    missing = {item["loc"]: item for item in errors if item["type"] == "missing"}
    for item in errors:
        if item["type"] == "extra_forbidden":
            yield _unknown_key(item, missing)
    for item in missing.values():
        yield f"{_dotted(item['loc'])}: is missing; {_help(item['loc'])}"
    for item in errors:
        if item["type"] in ("extra_forbidden", "missing"):
            continue
        if item["type"] == "union_tag_invalid":
            item = {**item, "loc": (*item["loc"], "kind"), "input": item["ctx"]["tag"]}
        whole = item["type"] == "value_error" and isinstance(item["input"], dict)  # a section is too long to show
        given = "" if whole else f" {shown(item['input'])} is not allowed:"
        yield f"{_dotted(item['loc'])}:{given} {_readable(item)}"


def _unknown_key(item: dict, missing: dict) -> str:
    """The line for an unknown key; if it is a misspelt missing key, the latter is dropped from ``missing``."""
    *parent, key = item["loc"]
    siblings = {loc[-1]: loc for loc in missing if list(loc[:-1]) == parent}
    known = list(_fields(parent))
    near = difflib.get_close_matches(str(key), list(siblings) or known, 1, 0.5) or difflib.get_close_matches(
        str(key), known, 1
    )
    if near and near[0] in siblings:
        missing.pop(siblings[near[0]])
    hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
    return f"{_dotted(item['loc'])}: unknown key (value {shown(item['input'])}); {hint}"


def _readable(item: dict) -> str:
    context = item.get("ctx", {})
    if item["type"] == "literal_error" and isinstance(item["input"], str):
        choices = context["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        near = did_you_mean(item["input"], choices)
        return f"one of {', '.join(choices)}" + (f" ({near})" if near else "")
    if item["type"] == "union_tag_invalid":
        return f"one of {context['expected_tags']}"
    if item["type"] == "string_pattern_mismatch":
        return "must not be blank" if context["pattern"] == r"\S" else f"must match {context['pattern']}"
    message = item["msg"].removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def _dotted(loc: tuple) -> str:
    kinds = {"hub", "pypi", "url", "path"}  # pydantic adds the tag of the union to the location
    parts = [part for i, part in enumerate(loc) if not (i == 2 and loc[0] == "assets" and part in kinds)]
    return ".".join(
        str(part) for part in parts if not str(part).startswith(("literal[", "constrained-", "int", "function-"))
    )


def _fields(parent: list) -> dict:
    """Fields of the section at a location, as far as the schema's types determine it."""
    section: Any = Params
    for part in parent:
        fields = getattr(section, "model_fields", None)
        if fields is not None and part in fields:
            section = fields[part].annotation
        elif part in ("hub", "pypi", "url", "path"):
            section = {"hub": HubAsset, "pypi": PypiAsset, "url": UrlAsset, "path": PathAsset}[part]
            continue
        arguments = [a for a in getattr(section, "__args__", ()) if isinstance(a, type) and issubclass(a, BaseModel)]
        section = arguments[-1] if arguments else section
    return getattr(section, "model_fields", {})


def _help(loc: tuple) -> str:
    field = _fields(list(loc[:-1])).get(loc[-1])
    about = " ".join((getattr(field, "description", None) or "").split())
    return about.partition(". ")[0].rstrip(".") or "conf/profiles shows such a key"
