"""Self logits evolution decoding: the final logits move towards what the layers point at."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from autocontrastive_gen.foundation.named import parameter
from autocontrastive_gen.modeling.arithmetic import few_rows
from autocontrastive_gen.modeling.layers import Exit
from autocontrastive_gen.modeling.method import METHODS, Lowers
from autocontrastive_gen.modeling.over_layers import OverLayers, final_norm_parameter, layers_parameter
from autocontrastive_gen.modeling.plausible import most_likely


@METHODS.register
@dataclass(frozen=True)
class Sled(OverLayers):
    """Self logits evolution decoding (Zhang et al. 2024, algorithm 1; https://arxiv.org/abs/2411.02433).

    I is the evolution set: the ``evolution_scale`` most likely tokens under ``p_u``. A layer with logits l supports
    token i of I by how well its difference to the upper logits u points from its own distribution to that token:
    ``v = max(0, cos(p_l - e_i, l - u)) ** 2``. The latent distribution is ``P(i) = sum of v over the layers``, divided
    by the sum over I (zero outside I, and zero everywhere if nothing is supported). The upper logits then take
    ``evolution_steps`` gradient steps towards it, ``u <- u - rate * (softmax(u) - P)``, with a rate that falls
    linearly from ``evolution_rate``; outside I they become ``evolution_lower_bound``.

    The result needs the evolution set alone, but the cosine runs over the vocabulary and so reads whole distributions:
    the cost of a step is that of the output matrix for every layer. The released code scores TruthfulQA (10 steps, a
    lower bound of -100) by the evolved logits as they are; here the result is normalised.
    """

    name: ClassVar[str] = "sled"
    layers: str | tuple[Exit, ...] = layers_parameter(
        "all", "Layers that are compared with the upper exit; empty: the lower layer of the contrast alone."
    )
    evolution_rate: float = parameter(2.0, "How far the first step goes.", above=0)
    evolution_scale: int = parameter(10, "Number of tokens in the evolution set.", kind=int, low=1)
    evolution_steps: int = parameter(1, "Gradient steps.", kind=int, low=1)
    evolution_lower_bound: float = parameter(-1000.0, "Logit of the tokens outside the evolution set.")
    final_norm: bool = final_norm_parameter()

    def rows(self, upper: Tensor, lowers: Lowers) -> Tensor:
        """The evolved logits of each row, normalised."""
        token_ids = self._evolution_set(upper)
        layers = lowers.all_logits(self.final_norm)
        support = torch.stack([few_rows(_support, upper, logits.float(), token_ids) for logits in layers]).sum(0)
        total = support.sum(-1, keepdim=True)
        latent = torch.where(total == 0, support, support / total)  # (rows, K); a NaN stays one
        evolved = upper
        for step in range(self.evolution_steps):
            rate = self.evolution_rate * (1 - step / self.evolution_steps)
            evolved = (evolved - rate * evolved.softmax(-1)).scatter_add(-1, token_ids, rate * latent)
        outside = torch.where(upper == -torch.inf, upper, self.evolution_lower_bound)  # what can't be said stays so
        return outside.scatter(-1, token_ids, evolved.gather(-1, token_ids)).log_softmax(-1)

    def plausible(self, upper_logits: Tensor) -> Tensor:
        """The evolution set."""
        return torch.zeros_like(upper_logits, dtype=torch.bool).scatter(-1, self._evolution_set(upper_logits), True)

    def _evolution_set(self, upper: Tensor) -> Tensor:
        """The ``evolution_scale`` most likely tokens (rows, K) under the upper logits (rows, V)."""
        return most_likely(upper.detach(), min(self.evolution_scale, upper.shape[-1]))[1]


def _support(upper: Tensor, lower: Tensor, token_ids: Tensor) -> Tensor:
    """How well a layer points at each token: (rows, K) from logits (rows, V) in float32; 0 to 1.

    The cosine of ``p - e_i`` with the difference d is ``(p . d - d_i) / (|p - e_i| |d|)``, where
    ``|p - e_i| ** 2 = |p| ** 2 - 2 p_i + 1``: no vector per token is needed. For the layer's most likely token, where
    these terms may cancel, ``1 - p_i`` is the sum of the others.
    """
    p = lower.softmax(-1)
    never = (upper == -torch.inf) | (lower == -torch.inf)
    difference = (lower - upper).masked_fill(never, 0.0)
    at = difference.gather(-1, token_ids)
    first = p.argmax(-1, keepdim=True)
    others = p.scatter(-1, first, 0.0)
    missing = others.sum(-1, keepdim=True)
    dots = (others * difference).sum(-1, keepdim=True), (p * difference).sum(-1, keepdim=True)
    squares = others.square().sum(-1, keepdim=True), p.square().sum(-1, keepdim=True)
    is_first = token_ids == first
    dot = torch.where(is_first, dots[0] - missing * at, dots[1] - at)
    square = torch.where(is_first, squares[0] + missing.square(), squares[1] - 2 * p.gather(-1, token_ids) + 1)
    norms = square.sqrt() * difference.norm(dim=-1, keepdim=True)
    return torch.where(norms == 0, norms, dot / norms).clamp(min=0).square()
