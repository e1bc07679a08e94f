"""Sampling that gives the same tokens in every batch: each prompt and step has its own stream of Gumbel noise."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessor

from autocontrastive_gen.foundation.digests import seed_for


def gumbel(seed: int, prompt_id: str, step: int, size: int, tokens: Tensor | slice = slice(None)) -> Tensor:
    """Standard Gumbel noise (size,), or its entries at ``tokens``; drawn on the CPU whatever the device.

    Each entry is a function of the other arguments and of its index alone.
    """
    generator = torch.Generator().manual_seed(seed_for(seed, prompt_id, step))
    uniform = torch.rand(size, generator=generator, dtype=torch.float64)[tokens]
    return -(-uniform.clamp_(min=torch.finfo(torch.float64).tiny).log()).log()


class GumbelMax(LogitsProcessor):
    """Makes greedy search sample: the argmax of log p + Gumbel noise is a draw from p (Gumbel 1954).

    It comes last, after the processors that narrow the distribution. It counts the steps, so one object serves one
    call of ``generate``.
    """

    def __init__(self, prompt_ids: Sequence[str], seed: int):
        self.prompt_ids, self.seed, self.step = tuple(prompt_ids), seed, 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (B, V), normalised or not, with noise added."""
        noisy = scores.clone()
        for row, prompt_id in zip(noisy, self.prompt_ids, strict=True):
            possible = (row > -torch.inf).nonzero().flatten()
            noise = gumbel(self.seed, prompt_id, self.step, len(row), possible.cpu())
            row.index_add_(0, possible, noise.to(row))
        self.step += 1
        return noisy
