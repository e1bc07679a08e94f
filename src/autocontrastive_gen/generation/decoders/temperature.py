"""Sampling from the whole distribution."""

from dataclasses import dataclass
from typing import ClassVar

from autocontrastive_gen.generation.decoder import DECODERS, Sampler


@DECODERS.register
@dataclass(frozen=True)
class Temperature(Sampler):
    """Draws from the whole distribution; at temperature 1 this is ancestral sampling."""

    name: ClassVar[str] = "temperature"
