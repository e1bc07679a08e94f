"""Contrastive decoding, with a lower exit in the place of the small model."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from autocontrastive_gen.foundation.named import parameter
from autocontrastive_gen.modeling.method import METHODS
from autocontrastive_gen.modeling.methods.acd import Acd
from autocontrastive_gen.modeling.over_plausible import OverPlausible, outside_parameter


@METHODS.register
@dataclass(frozen=True)
class Cd(OverPlausible):
    """Contrastive decoding (Li et al. 2022, equations 2-4; https://arxiv.org/abs/2210.15097).

    For x in V: ``log p(x) = log_softmax over V of (log p_u(x) - log p_l(x))``; else ``outside``. ``temperature`` is the
    amateur's: ``p_l = softmax(logits / temperature)``.
    """

    name: ClassVar[str] = "cd"
    alpha: float = parameter(
        0.1, "Tokens with at least alpha times the largest upper probability are plausible.", low=0, high=1
    )
    minimum_candidates: int = parameter(1, "At least this many tokens are plausible (and ties).", kind=int, low=1)
    temperature: float = parameter(1.0, "Divides the lower exit's logits.", above=0)
    outside: float | None = outside_parameter()

    def _base(self, upper: Tensor) -> Tensor:
        # A row that is no distribution gives NaN, here as in every other method.
        outside = -torch.inf if self.outside is None else self.outside
        return torch.full_like(upper, outside) + 0 * upper.amax(-1, keepdim=True)

    def _log_mass(self, base: Tensor, mask: Tensor) -> float:
        return 0.0

    @property
    def same_choice_as(self) -> Acd:
        """The plausible token with the largest ratio ``p_u / p_l``, in both."""
        return Acd(self.alpha, self.minimum_candidates, self.temperature)
