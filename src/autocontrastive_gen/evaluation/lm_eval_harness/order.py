"""Results of several processes in the order of the documents, so that their number changes no byte."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any


class DocumentOrder:
    """For a model of lm-eval: it deals documents out in turn and joins process after process, and its bootstrapped
    errors depend on the order."""

    def gather_object(self, obj: Any, dst: int = 0) -> list | None:
        parts = super().gather_object(obj, dst)
        return parts and [in_turn(parts)]


def in_turn(parts: list) -> Any:
    """One list of those that were dealt out in turn; of dictionaries, item by item."""
    if isinstance(parts[0], dict):
        return {key: in_turn([part[key] for part in parts]) for key in parts[0]}
    absent = object()
    return [item for row in zip_longest(*parts, fillvalue=absent) for item in row if item is not absent]
