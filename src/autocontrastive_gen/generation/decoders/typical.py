"""Locally typical sampling."""

from dataclasses import dataclass
from typing import ClassVar

from autocontrastive_gen.foundation.named import parameter
from autocontrastive_gen.generation.decoder import DECODERS, Sampler


@DECODERS.register
@dataclass(frozen=True)
class Typical(Sampler):
    """Draws from the smallest set of tokens with information nearest to the entropy whose mass reaches ``typical_p``.

    Meister et al. 2023, arXiv:2202.00666, section 4.
    """

    name: ClassVar[str] = "typical"
    typical_p: float = parameter(0.95, "probability mass of the set; 1 allows all tokens", above=0, high=1)

    def warpers(self) -> list:
        from transformers import TypicalLogitsWarper

        return [] if self.typical_p == 1 else [TypicalLogitsWarper(self.typical_p)]
