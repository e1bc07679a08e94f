"""Decoding by contrasting layers: the contrast with the layer that disagrees most, chosen at every position."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from autocontrastive_gen.foundation.named import parameter
from autocontrastive_gen.modeling.arithmetic import wide
from autocontrastive_gen.modeling.layers import Exit
from autocontrastive_gen.modeling.method import METHODS, Lowers
from autocontrastive_gen.modeling.methods.acd import Acd
from autocontrastive_gen.modeling.methods.cd import Cd
from autocontrastive_gen.modeling.over_layers import OverLayers, layers_parameter


@METHODS.register
@dataclass(frozen=True)
class Dola(OverLayers):
    """Decoding by contrasting layers (Chuang et al. 2024, equations 1-6; https://arxiv.org/abs/2309.03883).

    Per position, M is the layer whose distribution is farthest from the upper one by Jensen-Shannon divergence; then
    for x in V ``log p(x) = log_softmax over V of (log p_u(x) - log p_M(x))``, else minus infinity.
    """

    name: ClassVar[str] = "dola"
    layers: str | tuple[Exit, ...] = layers_parameter(
        (), "Candidate layers; empty: the lower layer of the contrast alone (the paper's DoLa-static)."
    )
    alpha: float = parameter(
        0.1, "Tokens with at least alpha times the largest upper probability are plausible.", low=0, high=1
    )

    @property
    def same_choice_as(self) -> Acd | None:
        """With one layer, the contrast with it, as contrastive decoding does."""
        return Acd(self.alpha) if not self.layers or len(self.layers) == 1 else None

    def rows(self, upper: Tensor, lowers: Lowers) -> Tensor:
        """The contrast with the farthest layer of each row."""
        lower = [logits.float() for logits in lowers.all_logits()]
        farthest = lower[0]
        if len(lower) > 1:
            divergence = torch.stack([_jensen_shannon(upper, logits) for logits in lower])  # (layers, rows)
            chosen = divergence.nan_to_num(nan=-1.0).argmax(0)
            farthest = torch.stack(lower)[chosen, torch.arange(len(upper), device=upper.device)]
        return Cd(alpha=self.alpha).rows(upper, farthest)


def _jensen_shannon(upper: Tensor, lower: Tensor) -> Tensor:
    """Divergence (rows,) in nats between two exits' logits (rows, V): H(m) - H(p)/2 - H(q)/2."""
    p, q = wide(upper).softmax(-1), wide(lower).softmax(-1)
    negative = [torch.xlogy(x, x).sum(-1) for x in (p, q, (p + q) / 2)]
    return (negative[0] + negative[1]) / 2 - negative[2]
