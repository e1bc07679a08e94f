"""Greedy search."""

from dataclasses import dataclass
from typing import ClassVar

from autocontrastive_gen.generation.decoder import DECODERS, Decoder


@DECODERS.register
@dataclass(frozen=True)
class Greedy(Decoder):
    """The most likely token at every step."""

    name: ClassVar[str] = "greedy"
