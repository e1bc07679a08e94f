"""Parameters of a contrast that are left to a choice on validation prompts: ``choose: {alpha: [0.05, 0.1, 0.3]}``.

A *combination* gives every such parameter one of its values. A *candidate* is a combination with a lower layer.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MOST_CANDIDATES = 64
"""Of one contrast with one model: each continues all validation prompts, and the best of very many is a lucky one."""


def combinations(choose: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Every combination, in the order of the values; a single empty one if there is nothing to choose."""
    for values in itertools.product(*choose.values()):
        yield dict(zip(choose, values, strict=True))


def count(choose: Mapping[str, Sequence[Any]]) -> int:
    """Number of combinations."""
    return math.prod(map(len, choose.values()))


def choice_faults(key: str, entry: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the form of ``choose`` in the entry ``key``; its values are the method's to check."""
    for name, values in choices_of(entry).items():
        given = f"{key}.choose.{name}: {values!r} is not allowed:"
        if name in ("method", "choose"):
            yield f"{given} {name} is no parameter; give each method an entry of its own"
        elif name in entry:
            yield f"{given} {key}.{name} is {entry[name]!r} already; remove one of the two"
        elif len(values) < 2 or any(value in values[:i] for i, value in enumerate(values)):
            yield f"{given} a choice needs at least two values, all different; for a single one write {name}: <value>"


def choices_of(entry: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The well-formed part of ``choose``; the schema reports the rest."""
    choose = entry.get("choose")
    choose = choose if isinstance(choose, dict) else {}
    return {name: values for name, values in choose.items() if isinstance(name, str) and isinstance(values, list)}
