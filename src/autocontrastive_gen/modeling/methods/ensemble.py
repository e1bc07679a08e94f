"""A mixture of exits."""

import functools
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.foundation.named import parameter
from autocontrastive_gen.modeling.layers import Exit
from autocontrastive_gen.modeling.method import METHODS, Lowers
from autocontrastive_gen.modeling.over_layers import OverLayers, layers_parameter


@METHODS.register
@dataclass(frozen=True)
class Ensemble(OverLayers):
    """A mixture of exits: ``p = w_u p_u + sum over layers of w_l p_l``, with ``w_u = 1 - sum of w_l``.

    A linear opinion pool (Stone 1961); the upper exit and every layer weigh the same unless ``weights`` are given.
    Weights that sum to one leave the upper exit out.
    """

    name: ClassVar[str] = "ensemble"
    layers: str | tuple[Exit, ...] = layers_parameter(
        (), "Lower layers of the mixture; empty: the lower layer of the contrast alone."
    )
    weights: tuple[float, ...] = parameter(
        (), "One weight for each layer, the rest for the upper exit; empty: equal weights.", low=0, high=1, many=True
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if sum(self.weights) > 1 + 1e-6:
            raise InputError(
                "weights of ensemble must have a sum of at most 1 (the upper exit has the rest), got "
                f"{list(self.weights)}"
            )
        count = None if isinstance(self.layers, str) else len(self.layers) or 1
        if self.weights and len(self.weights) != count:
            needs = "layers as a list" if count is None else f"{count} numbers, one for each of layers"
            raise InputError(f"weights of ensemble must be {needs}, got {list(self.weights)} with {self.layers!r}")

    def rows(self, upper: Tensor, lowers: Lowers) -> Tensor:
        """The log of the mixture, exit by exit."""
        count = len(lowers.exits)
        weights = self.weights or (1 / (count + 1),) * count
        parts = zip((max(0.0, 1 - math.fsum(weights)), *weights), (upper, *lowers.all_logits()), strict=True)
        weighted = (
            logits.float().log_softmax(-1) + math.log(weight)
            for weight, logits in parts
            if weight > 1e-9  # else what is left of 1 - sum is rounding
        )
        return functools.reduce(torch.logaddexp, weighted)
