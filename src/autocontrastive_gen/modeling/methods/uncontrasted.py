"""No contrast at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from autocontrastive_gen.modeling.layers import Exit
from autocontrastive_gen.modeling.method import METHODS, Lowers, Method


@METHODS.register
@dataclass(frozen=True)
class Uncontrasted(Method):
    """The upper exit alone: ``log p = log p_u``."""

    name: ClassVar[str] = "none"

    @property
    def takes_lower(self) -> bool:
        """No lower exit is read."""
        return False

    def lower_exits(self, lower: Exit | None, upper: Exit, exits: Sequence[int], depth: int) -> tuple[Exit, ...]:
        """None of them."""
        return ()

    def evaluate(self, upper_logits: Tensor, lowers: Lowers) -> Tensor:
        """Log-probabilities (..., V) of the upper exit."""
        return upper_logits.float().log_softmax(-1)
