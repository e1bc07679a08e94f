"""Methods over several lower exits: how the layers are named, and how memory stays bounded."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.foundation.named import parameter
from autocontrastive_gen.modeling import arithmetic
from autocontrastive_gen.modeling.layers import ORIGINAL, Exit
from autocontrastive_gen.modeling.method import Lowers, Method

GROUPS = ("low", "high", "all")
BUCKET = 20
"""Layers in a bucket of a model with more than twice as many; others have two buckets, the halves."""


def layers_parameter(default: Any, help: str) -> Any:
    """The field ``layers`` of a method: a group of layers, or a list of exits."""
    words = "low, high, all, or distinct layers (whole numbers, or 'original')"
    return parameter(default, help, kind=_read_layers, words=words)


def final_norm_parameter() -> Any:
    """The field ``final_norm`` of a method that was published without it."""
    return parameter(
        True,
        "Whether the final norm comes before a lower exit, as in this library's exits; false: the output matrix sees "
        "the state as the block left it, as in the code released with DoLa and SLED.",
        kind=bool,
    )


def _read_layers(value: Any) -> str | tuple[Exit, ...]:
    if isinstance(value, str):
        if value in GROUPS:
            return value
        value = [part.strip() for part in value.strip("()[] ").replace(",", ";").split(";") if part.strip()]
    entries = value if isinstance(value, list | tuple) else [value] if value is not None else []
    layers = tuple(entry if entry == ORIGINAL else _layer(entry) for entry in entries)
    if len(set(layers)) != len(layers):
        raise ValueError
    return layers


def _layer(entry: Any) -> int:
    if isinstance(entry, bool | float) or int(entry) < 1:
        raise ValueError
    return int(entry)


def group_of_layers(group: str, exits: Sequence[int], top: int, depth: int) -> tuple[int, ...]:
    """The exits below layer ``top`` that belong to a group.

    ``low`` and ``high`` are the even layers of the first and the last bucket by depth (Chuang et al. 2024, section
    3.1): the halves of a model of up to 40 layers, else its first and last 20. The embeddings, layer 0 of the
    released code, are no exit.
    """
    below = [layer for layer in sorted(exits) if layer < top]
    if group == "all":
        return tuple(below)
    size = depth // 2 if depth <= 2 * BUCKET else BUCKET
    within = range(size) if group == "low" else range(depth - size, depth)
    return tuple(layer for layer in below if layer in within and layer % 2 == 0)


@dataclass(frozen=True)
class OverLayers(Method):
    """What the methods over several lower exits share; without ``layers``, the chosen lower exit is the only one."""

    layers: str | tuple[Exit, ...]

    @property
    def takes_lower(self) -> bool:
        """Only where it names no layers itself."""
        return not self.layers

    def lower_exits(self, lower: Exit | None, upper: Exit, exits: Sequence[int], depth: int) -> tuple[Exit, ...]:
        """The layers that it names: those of a list, or the exits of a group."""
        if not self.layers:
            return super().lower_exits(lower, upper, exits, depth)
        if not isinstance(self.layers, str):
            return self.layers
        found = group_of_layers(self.layers, exits, depth if upper == ORIGINAL else int(upper), depth)
        if not found:
            raise InputError(
                f"layers={self.layers} of {self.name}: none of the exits ({', '.join(map(str, exits)) or 'none'}) of "
                f"this model of {depth} layers below exit {upper} is among them; list layers, or give it exits there"
            )
        return found

    def evaluate(self, upper_logits: Tensor, lowers: Lowers) -> Tensor:
        """Some positions at a time: the logits of every layer are never whole."""
        upper = upper_logits.reshape(-1, upper_logits.shape[-1])
        rows = max(1, 4 * arithmetic.CHUNK // (upper.shape[-1] * (1 + len(lowers.exits))))
        pieces = [
            self.rows(upper[start : start + rows].float(), lowers.part(start, min(start + rows, len(upper))))
            for start in range(0, max(len(upper), 1), rows)
        ]
        return (pieces[0] if len(pieces) == 1 else torch.cat(pieces)).view(upper_logits.shape)

    @abstractmethod
    def rows(self, upper: Tensor, lowers: Lowers) -> Tensor:
        """Log-probabilities (rows, V) from upper logits (rows, V) in float32 and the lower exits at these rows."""
