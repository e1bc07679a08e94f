"""The plausible set of a distribution: the tokens that contrast may reorder.

``V = { x : p(x) >= min(alpha * max p, k-th largest p) }`` (Gera et al. 2023, section 2.2, after Li et al. 2022), found
without sorting the vocabulary. Tokens of probability zero never belong to it, whatever ``k``; the set of a row that is
not a distribution (NaN, +inf, all -inf) is empty.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 64
FIRST_LOOK = 32
"""Plausible tokens looked for before counting them all; on real text, 5 to 7 on average, and more than these at less
than 1 % of the positions (alpha 0.1)."""


@dataclass(frozen=True)
class Candidates:
    """Plausible tokens of each row, most likely first, padded with less likely tokens to the longest row."""

    token_ids: Tensor
    """(rows, K) int64, distinct within a row; rows are the flattened leading dimensions of the logits."""
    mask: Tensor
    """(rows, K) bool: True where the token is plausible."""


def most_likely(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Values and indices of the ``k`` largest entries of each row of (rows, V), in descending order.

    The largest k tokens lie in the k blocks with the largest maxima, so only k blocks are searched: several times
    faster than ``topk`` over a whole vocabulary.
    """
    rows, size = logits.shape
    blocks = size // BLOCK
    if k * 4 > blocks:
        values, indices = logits.topk(min(k, size), dim=-1)
        return values, indices
    blocked = logits[:, : blocks * BLOCK].unflatten(-1, (blocks, BLOCK))
    chosen = blocked.amax(-1).topk(k, dim=-1, sorted=False).indices  # (rows, k)
    values = blocked.gather(1, chosen.unsqueeze(-1).expand(-1, -1, BLOCK)).flatten(1)
    values = torch.cat([values, logits[:, blocks * BLOCK :]], dim=-1)  # what follows the last block is always searched
    values, at = values.topk(k, dim=-1)
    in_block = chosen.gather(-1, (at // BLOCK).clamp(max=k - 1)) * BLOCK + at % BLOCK
    return values, torch.where(at < k * BLOCK, in_block, at - k * BLOCK + blocks * BLOCK)


def _is_plausible(logits: Tensor, top: Tensor, kth: Tensor | None, alpha: float) -> Tensor:
    # Differences from the maximum, unlike sums with it, stay exact however large the logits are.
    plausible = logits - top >= (math.log(alpha) if alpha else -torch.inf)
    if kth is not None:
        plausible |= logits >= kth
    return plausible & (logits > -torch.inf) & (top < torch.inf)


def plausible_mask(logits: Tensor, alpha: float, minimum_candidates: int = 1) -> Tensor:
    """Membership of every token in the plausible set; logits (rows, V) in float32."""
    kth = None
    if minimum_candidates > 1:
        kth = most_likely(logits, min(minimum_candidates, logits.shape[-1]))[0][:, -1:]
    return _is_plausible(logits, logits.amax(-1, keepdim=True), kth, alpha)


def first_candidates(logits: Tensor, alpha: float, minimum_candidates: int, width: int) -> Candidates:
    """The ``width`` most likely tokens of each row (rows, V); a row whose last one is plausible may have more.

    Args:
        logits: (rows, V) float32.
        width: at least ``minimum_candidates``.
    """
    values, token_ids = most_likely(logits, width)
    kth = values[:, minimum_candidates - 1 : minimum_candidates] if minimum_candidates > 1 else None
    return Candidates(token_ids, _is_plausible(values, values[:, :1], kth, alpha))


def plausible_candidates(logits: Tensor, alpha: float, minimum_candidates: int, limit: int) -> Candidates | None:
    """The plausible sets as token ids, or None if one of them holds more than ``limit`` tokens.

    Args:
        logits: (rows, V) float32.
        limit: the largest set for which evaluating its tokens alone costs less than evaluating all.
    """
    size = logits.shape[-1]
    k = min(minimum_candidates, size)
    if k > limit:
        return None
    look = min(max(FIRST_LOOK, k), size)
    found = first_candidates(logits, alpha, k, look)
    if look < size and bool((full := found.mask[:, -1]).any()):  # these rows may have more
        look = int(plausible_mask(logits[full], alpha, k).sum(-1).max())
        if look > limit:
            return None
        found = first_candidates(logits, alpha, k, look)
    longest = max(int(found.mask.sum(-1).max()), 1) if found.mask.numel() else 1
    return Candidates(found.token_ids[:, :longest], found.mask[:, :longest])
