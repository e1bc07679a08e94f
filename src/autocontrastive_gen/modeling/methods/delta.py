"""Decoding by logit trajectory: the logits of a layer above the last one, extrapolated from those below it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from autocontrastive_gen.foundation.named import parameter
from autocontrastive_gen.modeling.layers import Exit
from autocontrastive_gen.modeling.method import METHODS, Lowers
from autocontrastive_gen.modeling.methods.cd import Cd
from autocontrastive_gen.modeling.over_layers import OverLayers, layers_parameter
from autocontrastive_gen.modeling.over_plausible import outside_parameter


@METHODS.register
@dataclass(frozen=True)
class Delta(OverLayers):
    """DeLTa: a line through each token's logits, read above the upper exit (He et al. 2025, arXiv 2503.02343).

    For layers x with logits ``y_x(t)`` of token t, a least-squares line predicts the logits ``z(t)`` at layer
    ``N + beyond``, N being the upper exit's layer. With ``q = softmax(z)``, for t in ``{q(t) >= alpha * max q}``:
    ``log p(t) = log_softmax over the set of z(t)``; else ``outside``. This is what the authors' code computes
    (https://github.com/githubhyz/DeLTa, ``llm.py``), where the first layer is M and ``N + beyond`` is L; their figure
    extrapolates layers 30 to 32 of 32 to layer 33.

    A prediction is a weighted sum of the layers' logits whose weights sum to one. With a single lower layer l it is
    ``y_N + beyond / (N - l) * (y_N - y_l)``: a contrast of two exits without a plausible set of the upper one. The set
    is found from the prediction, which reads whole distributions: the cost of a step is that of the output matrix for
    every layer. In 16-bit models, tokens that are likely under the prediction alone keep rounded logits.
    """

    name: ClassVar[str] = "delta"
    _kept: ClassVar[Cd]
    layers: str | tuple[Exit, ...] = layers_parameter(
        (), "Layers on the line besides the upper exit; empty: the lower layer of the contrast and all exits above it."
    )
    beyond: float = parameter(1.0, "Layers between the upper exit and the one that is predicted.", low=0)
    alpha: float = parameter(
        0.1, "Tokens with at least alpha times the largest predicted probability are kept.", low=0, high=1
    )
    outside: float | None = outside_parameter()

    def __post_init__(self) -> None:
        super().__post_init__()
        # Made here and not in a pass: torch.compile can't trace the checks of the parameters.
        object.__setattr__(self, "_kept", Cd(alpha=self.alpha, outside=self.outside))

    def lower_exits(self, lower: Exit | None, upper: Exit, exits: Sequence[int], depth: int) -> tuple[Exit, ...]:
        """Without ``layers``, every exit from the chosen layer to below the upper one."""
        found = super().lower_exits(lower, upper, exits, depth)
        if self.layers or not isinstance(lower, int):
            return found
        top = upper if isinstance(upper, int) else depth
        return found + tuple(layer for layer in sorted(exits) if lower < layer < top)

    def rows(self, upper: Tensor, lowers: Lowers) -> Tensor:
        """The prediction, with the tokens that it makes unlikely taken out."""
        predicted = upper
        for weight, logits in zip(self._weights(lowers), lowers.all_logits(), strict=True):
            never = (upper == -torch.inf) | (logits == -torch.inf)  # what can't be said stays so
            predicted = predicted + weight * (logits.float() - upper).masked_fill(never, 0.0)
        nothing = predicted.new_zeros(()).expand_as(predicted)
        return self._kept.rows(predicted, nothing)

    def _weights(self, lowers: Lowers) -> list[float]:
        """How much the logits of each lower exit weigh in the prediction; the upper exit has the rest of one."""
        layers = (*lowers.layers, lowers.upper_layer)
        mean = sum(layers) / len(layers)
        spread = sum((layer - mean) ** 2 for layer in layers)
        ahead = lowers.upper_layer + self.beyond - mean
        return [1 / len(layers) + (ahead * (layer - mean) / spread if spread else 0.0) for layer in lowers.layers]
