"""Sampling that is the same in every batch: Gumbel noise with a stream of its own for each prompt and step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessor

from autocontrastive_gen.foundation.digests import seed_for


def gumbel(seed: int, prompt_id: str, step: int, size: int) -> Tensor:
    """Standard Gumbel noise (size,) that depends on nothing but the arguments, drawn on the CPU for every device."""
    generator = torch.Generator().manual_seed(seed_for(seed, prompt_id, step))
    uniform = torch.rand(size, generator=generator, dtype=torch.float64)
    return -(-uniform.clamp_(min=torch.finfo(torch.float64).tiny).log()).log()


class GumbelMax(LogitsProcessor):
    """Makes greedy search sample: the argmax of log p + Gumbel noise is a draw from p (Gumbel 1954).

    It goes last, after the processors that narrow the distribution. One object serves one call of ``generate``: it
    counts the steps itself.
    """

    def __init__(self, prompt_ids: Sequence[str], seed: int):
        self.prompt_ids, self.seed, self.step = tuple(prompt_ids), seed, 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (B, V), any constant added, to scores plus noise."""
        noise = [gumbel(self.seed, prompt_id, self.step, scores.shape[-1]) for prompt_id in self.prompt_ids]
        self.step += 1
        return scores + torch.stack(noise).to(scores)
