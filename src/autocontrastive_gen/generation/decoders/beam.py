"""Beam search."""

from dataclasses import dataclass
from typing import Any, ClassVar

from autocontrastive_gen.foundation.named import parameter
from autocontrastive_gen.generation.decoder import DECODERS, Decoder


@DECODERS.register
@dataclass(frozen=True)
class Beam(Decoder):
    """Beam search: the ``num_beams`` most likely continuations survive each step, and the best one wins."""

    name: ClassVar[str] = "beam"
    num_beams: int = parameter(4, "continuations that survive each step", kind=int, low=2)

    @property
    def tokens_per_step(self) -> int:
        return self.num_beams

    def arguments(self) -> dict[str, Any]:
        return {**super().arguments(), "num_beams": self.num_beams}
