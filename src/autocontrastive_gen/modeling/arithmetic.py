"""Arithmetic that the contrast methods share: precision, memory and shapes."""

from collections.abc import Callable

import torch
from torch import Tensor

CHUNK = 1 << 22
"""Logits combined at once (elements): bounds the float64 temporaries to some 100 MB whatever the batch."""
CACHED = 1 << 19
"""Logits of one tensor (elements) of which a few temporaries fit into a CPU's cache."""


def wide(logits: Tensor) -> Tensor:
    """Float64, where the device has it: differences of logits cancel, and float32 loses them at extreme gaps."""
    return logits.float() if logits.device.type == "mps" else logits.double()


def in_chunks(function: Callable[..., Tensor], *logits: Tensor) -> Tensor:
    """Apply a function of (rows, V) float32 tensors piece by piece to tensors of one shape (..., V)."""
    flat = [x.reshape(-1, x.shape[-1]) for x in logits]
    rows = max(1, CHUNK // flat[0].shape[-1])
    pieces = [function(*(x.float() for x in piece)) for piece in zip(*(x.split(rows) for x in flat), strict=True)]
    return (pieces[0] if len(pieces) == 1 else torch.cat(pieces)).view(logits[0].shape)


def few_rows(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """Apply a function of (rows, ...) tensors to few rows at once on a CPU, whose cache then holds the temporaries."""
    rows = max(1, CACHED // tensors[0].shape[-1]) if tensors[0].device.type == "cpu" else len(tensors[0])
    if len(tensors[0]) <= rows:
        return function(*tensors)
    return torch.cat([function(*piece) for piece in zip(*(x.split(rows) for x in tensors), strict=True)])


def scatter(base: Tensor, token_ids: Tensor, values: Tensor) -> Tensor:
    """``base`` (rows, V) with ``values`` (rows, K) at ``token_ids``; changes ``base`` where no gradient needs it."""
    needs_copy = base.requires_grad or values.requires_grad
    return base.scatter(-1, token_ids, values) if needs_copy else base.scatter_(-1, token_ids, values)
