"""Logits of 16-bit products, computed again in float32 at the tokens that a contrast decides between.

The product with a bfloat16 output matrix is summed in float32 and then rounded to 8 significant bits: logits from 16 to
32 become multiples of an eighth. So are those of a decoding step with a packed matrix in float32 (``packed``). That
makes ties, and moves tokens into and out of the plausible set, where a contrast has jumps. So the rows of the matrix
that belong to the ``DECIDING`` most likely tokens of the upper exit are gathered and multiplied once more, for every
exit that is read whole. The other tokens keep their rounded logits, so a mixture of exits, which may choose any token,
gains less. What the states lost in a 16-bit trunk stays lost.

Per position, this adds one search of the V upper logits; per position and exit, ``DECIDING * d`` weights are read and
multiplied: for a matrix of 49,152 x 576 in bfloat16, 74 kB and 37 thousand products beside the 57 MB and 28 million of
the whole. Products in float32 compute nothing more.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from autocontrastive_gen.modeling.arithmetic import scatter
from autocontrastive_gen.modeling.deciding import deciding
from autocontrastive_gen.modeling.heads import ExitHead

Finish = Callable[[Tensor], Tensor]
"""From the product with an output matrix to logits."""


def upper_logits(head: ExitHead, states: Tensor, finish: Finish) -> tuple[Tensor, Tensor | None]:
    """Logits (..., V) of the upper exit, and the tokens (rows, K) at which the exits' logits are to be unrounded.

    Args:
        head: the upper exit.
        states: (..., d), final-normed.
        finish: see ``Finish``.

    Returns:
        Float32 logits, unrounded at the tokens; from a head in float32, its logits and None.
    """
    cast = head.cast_states(states)
    logits = finish(head.product_of_cast(cast))
    if not _is_rounded(logits, head, cast):
        return logits, None
    wide = logits.float()
    token_ids = deciding(wide)
    return _put_right(wide, token_ids, head, cast, finish), token_ids


def unrounded(logits: Tensor, token_ids: Tensor | None, head: ExitHead, cast_states: Tensor, finish: Finish) -> Tensor:
    """Logits (..., V) of a lower exit, in float32 and unrounded at ``token_ids`` (rows, K).

    Args:
        logits: (..., V); returned unchanged if they are in float32 already or there are no ``token_ids``.
        token_ids: the tokens that ``upper_logits`` returned.
        head: the exit.
        cast_states: (..., d), what its output matrix was multiplied with.
        finish: see ``Finish``.
    """
    if token_ids is None or not _is_rounded(logits, head, cast_states):
        return logits
    return _put_right(logits.float(), token_ids, head, cast_states, finish)


def _put_right(wide: Tensor, token_ids: Tensor, head: ExitHead, cast_states: Tensor, finish: Finish) -> Tensor:
    if not head.rows_say_all:
        return wide
    exact = finish(head.product_of_cast_at(cast_states.flatten(0, -2), token_ids))
    return scatter(wide.flatten(0, -2), token_ids, exact).view(wide.shape)


def _is_rounded(logits: Tensor, head: ExitHead, cast_states: Tensor) -> bool:
    return torch.finfo(logits.dtype).bits < 32 or head.rounds(cast_states)
