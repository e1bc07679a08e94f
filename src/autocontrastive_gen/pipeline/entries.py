"""Entries of the two catalogues as the plan holds them: a method and its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def parameters_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a decoder or a contrast of the plan."""
    return {key: value for key, value in entry.items() if key not in ("method", "code")}


def spec_of(contrast: Mapping[str, Any]) -> dict[str, Any]:
    """A contrast of the plan as ``contrast_function`` takes it."""
    return {"name": contrast["method"], **parameters_of(contrast)}
