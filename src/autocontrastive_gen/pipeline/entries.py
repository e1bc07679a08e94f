"""Entries of the two catalogues in the form of the plan: a method and its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def parameters_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a decoder or contrast in the plan."""
    return {key: value for key, value in entry.items() if key not in ("method", "code", "choose")}


def spec_of(contrast: Mapping[str, Any]) -> dict[str, Any]:
    """A contrast in the plan, in the form that ``contrast_function`` takes."""
    return {"name": contrast["method"], **parameters_of(contrast)}


def with_choice(contrast: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """A contrast in the plan, with the values that were chosen and nothing left open."""
    return {**{key: value for key, value in contrast.items() if key != "choose"}, **chosen}
