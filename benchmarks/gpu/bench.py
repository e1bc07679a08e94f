"""What all parts of the GPU benchmark share: how large everything is, on which device, and how fast that device is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch

from autocontrastive_gen.foundation.timing import Meter
from benchmarks.decode import GPT2_MEDIUM, copy_bandwidth


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    shape: Mapping[str, int]
    """Of the model, as fields of ``GPT2Config``."""
    batches: tuple[int, ...]
    """Texts that are decoded together."""
    new_tokens: int
    exits: int
    rounds: int
    train_batch: int
    """Blocks per training step."""
    block_size: int
    """Tokens per block."""
    steps: int
    """Training steps that are timed, after one that is not."""
    sequences: int
    """Blocks of 64 tokens that casts are fitted on."""
    product: int
    """Rows and columns of the matrices whose product gives the peak."""


SIZES = {
    "full": Size(GPT2_MEDIUM, (1, 8, 64), 32, 12, 5, 16, 512, 8, 256, 8192),
    "tiny": Size({"n_embd": 32, "n_layer": 4, "n_head": 2, "vocab_size": 600}, (1, 2), 4, 3, 2, 4, 16, 2, 16, 128),
}


@dataclass(frozen=True)
class Bench:
    """A size on a device, and the time until which new measurements begin."""

    size: Size
    device: str
    minutes: float
    started: float = field(default_factory=time.monotonic)

    @property
    def meter(self) -> Meter:
        return Meter(self.device)

    @property
    def over(self) -> bool:
        """Whether the time is used up."""
        return time.monotonic() - self.started > 60 * self.minutes

    @cached_property
    def bandwidth(self) -> float:
        """Bytes per second of a copy, reads and writes counted."""
        return 1e9 * copy_bandwidth(self.device, self.meter)

    @cached_property
    def peak(self) -> float:
        """Operations per second of a large product in bfloat16."""
        n = self.size.product
        a, b = (torch.randn(n, n, device=self.device).bfloat16() for _ in range(2))
        torch.mm(a, b)
        return 2 * n**3 / min(self.meter.seconds(lambda: torch.mm(a, b)) for _ in range(9))
