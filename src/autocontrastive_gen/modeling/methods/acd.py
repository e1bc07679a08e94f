"""Auto-contrastive decoding, the method of the paper."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from autocontrastive_gen.foundation.named import parameter
from autocontrastive_gen.modeling.arithmetic import wide
from autocontrastive_gen.modeling.method import METHODS
from autocontrastive_gen.modeling.over_plausible import OverPlausible


@METHODS.register
@dataclass(frozen=True)
class Acd(OverPlausible):
    """Auto-contrastive decoding (Gera et al. 2023, equations 1-4; https://arxiv.org/abs/2305.01628).

    For x in V: ``p(x) = softmax over V of (log p_u(x) - log p_l(x)) * sum over V of p_u``; else ``p(x) = p_u(x)``.
    """

    name: ClassVar[str] = "acd"
    alpha: float = parameter(
        0.1, "Tokens with at least alpha times the largest upper probability are plausible.", low=0, high=1
    )
    minimum_candidates: int = parameter(1, "At least this many tokens are plausible (and ties).", kind=int, low=1)
    temperature: float = parameter(1.0, "Divides the lower exit's logits; 1 in the paper.", above=0)

    def _base(self, upper: Tensor) -> Tensor:
        return upper.log_softmax(-1)

    def _log_mass(self, base: Tensor, mask: Tensor) -> Tensor:
        return wide(base).masked_fill(~mask, -torch.inf).logsumexp(-1, keepdim=True)
