"""Try a contrast method on small random logits, so that a fault shows before a model is loaded."""

from typing import Any

import torch
from torch import Tensor

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.modeling.layers import ORIGINAL
from autocontrastive_gen.modeling.method import GivenLogits, Method

SHAPES = ((1, 1, 7), (2, 5, 40), (3, 130))
DEPTH = 48
"""Layers of the model that the toy logits stand for, all of them with an exit."""
TOLERANCE = 1e-3


def try_on_toy_logits(method: Method, title: str) -> None:
    """Evaluate a method at a few shapes.

    Raises:
        InputError: it fails, or returns anything but log-probabilities of the same shape; the message names ``title``.
    """
    draw = torch.Generator().manual_seed(0)
    lower = 1 if method.takes_lower else None
    exits = method.lower_exits(lower, ORIGINAL, range(1, DEPTH), DEPTH)
    for shape in SHAPES:
        upper, *others = (torch.randn(shape, generator=draw) * 3 for _ in range(1 + len(exits)))
        states = {exit_: torch.randn((*shape[:-1], 8), generator=draw) for exit_ in exits}
        lowers = GivenLogits(upper, dict(zip(exits, others, strict=True)), states, DEPTH)
        try:
            outcome = method.evaluate(upper.clone(), lowers)
        except InputError:
            raise
        except Exception as error:  # whatever a user's own code raises, its author can mend it
            raise InputError(f"{title} fails on logits of shape {shape}: {type(error).__name__}: {error}") from error
        if fault := _fault(outcome, shape, method.is_distribution):
            raise InputError(
                f"{title} must return log-probabilities: a float tensor of the shape of the upper logits whose "
                f"exponentials sum to 1 in every row, such as torch.log_softmax(scores, -1); for logits of shape "
                f"{shape} it returned {fault}"
            )


def _fault(outcome: Any, shape: tuple[int, ...], is_distribution: bool) -> str | None:
    if not isinstance(outcome, Tensor):
        return f"a {type(outcome).__name__}"
    if tuple(outcome.shape) != shape or not outcome.is_floating_point():
        return f"a tensor of shape {tuple(outcome.shape)} and type {outcome.dtype}"
    if outcome.isnan().any():
        return "NaN in places"
    sums = outcome.double().exp().sum(-1)
    if is_distribution and (sums - 1).abs().max() > TOLERANCE:
        return f"rows whose exponentials sum to between {float(sums.min()):.4g} and {float(sums.max()):.4g}"
    return None
