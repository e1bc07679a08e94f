"""Nucleus sampling."""

from dataclasses import dataclass
from typing import ClassVar

from autocontrastive_gen.foundation.named import parameter
from autocontrastive_gen.generation.decoder import DECODERS, Sampler


@DECODERS.register
@dataclass(frozen=True)
class TopP(Sampler):
    """Draws from the nucleus: the smallest set of the most likely tokens whose mass reaches ``top_p``.

    Holtzman et al. 2020, arXiv:1904.09751, section 3.1.
    """

    name: ClassVar[str] = "top-p"
    top_p: float = parameter(0.95, "probability mass of the nucleus; 1 allows all tokens", above=0, high=1)

    def warpers(self) -> list:
        from autocontrastive_gen.generation.nucleus import Nucleus

        return [Nucleus(self.top_p)] if self.top_p < 1 else []
