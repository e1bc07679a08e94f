"""Nested mappings as flat ones, so that parameters and plans are compared key by key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def leaves(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested mappings under dotted names."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found |= leaves(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """The dotted names of the values that differ, sorted; a missing value counts as None."""
    first, second = leaves(a), leaves(b)
    return sorted(name for name in first | second if first.get(name) != second.get(name))
