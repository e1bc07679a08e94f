"""Top-k sampling."""

from dataclasses import dataclass
from typing import ClassVar

from autocontrastive_gen.foundation.named import parameter
from autocontrastive_gen.generation.decoder import DECODERS, Sampler


@DECODERS.register
@dataclass(frozen=True)
class TopK(Sampler):
    """Draws from the ``top_k`` most likely tokens (Fan et al. 2018, arXiv:1805.04833, section 5.4)."""

    name: ClassVar[str] = "top-k"
    top_k: int = parameter(50, "tokens that may be drawn", kind=int, low=1)

    def warpers(self) -> list:
        from transformers import TopKLogitsWarper

        return [TopKLogitsWarper(self.top_k)]
