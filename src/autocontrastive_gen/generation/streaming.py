"""A continuation that is seen while it grows: the tokens so far are handed over after every step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import StoppingCriteria, StoppingCriteriaList

from autocontrastive_gen.generation.decode import continue_batch
from autocontrastive_gen.generation.decoder import Decoder


def stream_tokens(
    model,
    prompt: Sequence[int],
    decoder: Decoder,
    new_tokens: int,
    seed: int,
    on_step: Callable[[list[int]], None],
    prompt_id: str = "",
) -> list[int]:
    """Continue one prompt, as ``generate_texts`` does, and hand over the continuation after every step.

    Args:
        model: a decoder-only model of transformers, multi-exit or plain.
        prompt: its tokens (``encode_prompt``).
        on_step: takes all new tokens so far. A search revises them: from beam search it gets the best continuation of
            the step, which need not extend the one before. What it raises ends the generation.
        prompt_id: seeds what the decoder draws, together with ``seed``.

    Returns:
        The tokens of the continuation, (new_tokens,).
    """
    ids = torch.tensor([list(prompt)], device=model.device)
    watch = StoppingCriteriaList([_Watch(len(prompt), on_step)])
    mask = torch.ones_like(ids)
    return continue_batch(model, ids, mask, decoder, [prompt_id], new_tokens, seed, stopping=watch)[0].tolist()


class _Watch(StoppingCriteria):
    """Sees every step and stops none."""

    def __init__(self, start: int, on_step: Callable[[list[int]], None]) -> None:
        self.start, self.on_step = start, on_step

    def __call__(self, input_ids: Tensor, scores: Tensor | None, **kwargs) -> Tensor:
        self.on_step(input_ids[0, self.start :].tolist())  # a beam search puts its best continuation first
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
