"""Min-p sampling."""

from dataclasses import dataclass
from typing import ClassVar

from autocontrastive_gen.foundation.named import parameter
from autocontrastive_gen.generation.decoder import DECODERS, Sampler


@DECODERS.register
@dataclass(frozen=True)
class MinP(Sampler):
    """Draws from the tokens with at least ``min_p`` times the largest probability.

    Nguyen et al. 2024, arXiv:2407.01082. As in transformers, the temperature acts first.
    """

    name: ClassVar[str] = "min-p"
    min_p: float = parameter(0.1, "fraction of the largest probability below which no token is drawn", low=0, high=1)

    def warpers(self) -> list:
        from transformers import MinPLogitsWarper

        return [MinPLogitsWarper(self.min_p)]
