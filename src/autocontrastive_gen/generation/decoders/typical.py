"""Locally typical sampling."""

from dataclasses import dataclass
from typing import ClassVar

from autocontrastive_gen.foundation.named import parameter
from autocontrastive_gen.generation.decoder import DECODERS, Sampler


@DECODERS.register
@dataclass(frozen=True)
class Typical(Sampler):
    """Draws from the tokens whose information is nearest to the entropy, as few as hold the mass ``typical_p``.

    Meister et al. 2023, arXiv:2202.00666, section 4.
    """

    name: ClassVar[str] = "typical"
    typical_p: float = parameter(0.95, "probability mass that the tokens hold together; 1 allows all", above=0, high=1)

    def warpers(self) -> list:
        from transformers import TypicalLogitsWarper

        return [] if self.typical_p == 1 else [TypicalLogitsWarper(self.typical_p)]
