"""Casts fitted on text that the model generates, as the reference and Din et al. (2023) do."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from autocontrastive_gen.foundation.digests import seed_for
from autocontrastive_gen.foundation.processes import Processes
from autocontrastive_gen.foundation.progress import ProgressBar
from autocontrastive_gen.foundation.resume import Kept
from autocontrastive_gen.training.cast import NormalEquations
from autocontrastive_gen.training.corpus import TokenBlocks
from autocontrastive_gen.training.states import TOKENS_AT_ONCE, FrozenTrunk, Progress
from autocontrastive_gen.training.train_settings import CastFit


def collect_generated(
    trunk: FrozenTrunk,
    blocks: TokenBlocks,
    processes: Processes,
    kept: Kept,
    *,
    equations: NormalEquations,
    settings: CastFit,
    seed: int,
) -> None:
    """Normal equations over ``settings.vectors_per_text`` random positions of each of ``settings.texts`` texts.

    Each text is the first half of a block of training text, continued by sampling to the length of the block; the
    positions are drawn from the continuation. After a kill it continues as ``states.collect`` does.
    """
    texts = min(settings.texts, len(blocks))
    size = max(1, TOKENS_AT_ONCE // blocks.block_size)
    starts = processes.deal(range(0, texts, size))
    progress = Progress(kept, f"generated-{processes.rank}.safetensors", equations)
    done = progress.resume()
    for number in ProgressBar(range(done, len(starts)), "generated", unit=" batches"):
        start = starts[number]
        half = blocks[start : min(start + size, texts)][:, : blocks.block_size // 2]
        tokens = _continued(trunk.model, half, blocks.block_size, seed_for(seed, "generated", start))
        at = _positions(tokens, half.shape[1], settings.vectors_per_text, seed_for(seed, "positions", start))
        rows = {
            layer: x.take_along_dim(at.to(x.device)[..., None], 1).flatten(0, 1) for layer, x in trunk(tokens).items()
        }
        equations.add(rows, rows[trunk.layers[-1]])
        progress.made(number + 1, len(starts))
    processes.sum(equations.state_dict().values())
    processes.wait()


@torch.no_grad()
def _continued(model: Any, prompts: Tensor, length: int, seed: int) -> Tensor:
    """Prompts (n, m) continued to (n, length) by sampling from the model's distribution; no text ends early."""
    model.eval()
    torch.manual_seed(seed)
    prompts = prompts.to(model.device)
    return model.generate(
        input_ids=prompts,
        attention_mask=torch.ones_like(prompts),
        min_new_tokens=length - prompts.shape[1],
        max_new_tokens=length - prompts.shape[1],
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        repetition_penalty=1.0,
        pad_token_id=0,
        return_dict_in_generate=False,
    )


def _positions(tokens: Tensor, first: int, count: int, seed: int) -> Tensor:
    """``count`` distinct positions of each row, none before ``first``: (n, count)."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(len(tokens), tokens.shape[1] - first, generator=generator).argsort(1)
    return first + order[:, :count]
