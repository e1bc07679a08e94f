"""The tokens that decide what comes next, and the entries of a product with an output matrix at them, unrounded."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from autocontrastive_gen.modeling.plausible import most_likely

DECIDING = 64
"""Tokens per position; greedy text of SmolLM2 has more plausible ones at 0.1 % of its positions (alpha 0.1)."""
GATHERED = 2**24
"""Entries of an output matrix that are gathered at once: 64 MiB in float32, whatever the batch."""


def deciding(logits: Tensor) -> Tensor:
    """The tokens (rows, K) that decide, of logits (..., V) in float32."""
    return most_likely(logits.detach().flatten(0, -2), min(DECIDING, logits.shape[-1]))[1]


def gathered_product(weight: Tensor, bias: Tensor | None, states: Tensor, token_ids: Tensor) -> Tensor:
    """Entries (rows, K) of ``states @ weight.T + bias`` at ``token_ids`` alone, in float32 or the wider type of these.

    Args:
        weight: an output matrix (V, d).
        bias: (V,) or None.
        states: (rows, d), taken in the type of ``weight``.
        token_ids: (rows, K).
    """
    states = states.to(weight.device, weight.dtype)
    pieces = token_ids.numel() * weight.shape[-1] // GATHERED + 1
    with torch.autocast(weight.device.type, enabled=False):  # it would round
        if pieces == 1:
            product = _multiplied(weight, states, token_ids)
        else:
            parts = zip(states.chunk(pieces), token_ids.chunk(pieces), strict=True)
            product = torch.cat([_multiplied(weight, *part) for part in parts])
        return product if bias is None else product + bias[token_ids]


def _multiplied(weight: Tensor, states: Tensor, token_ids: Tensor) -> Tensor:
    # Products of 16-bit numbers are exact in float32, and the sum is not rounded to 16 bits.
    kind = torch.promote_types(weight.dtype, torch.float32)
    rows = nn.functional.embedding(token_ids, weight).to(kind)  # (rows, K, d)
    return torch.bmm(rows, states.to(kind).unsqueeze(-1)).squeeze(-1)
