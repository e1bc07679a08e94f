"""One more pass over generated texts, for what the exits say at every token of their continuations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from autocontrastive_gen.generation.batches import ALONE, Share, in_batches, pad, pad_token
from autocontrastive_gen.modeling.exit_states import ExitStates
from autocontrastive_gen.modeling.layers import Exit


def reread(
    model,
    tokenizer,
    rows: Sequence[dict],
    exits: Sequence[Exit],
    read: Callable[[dict, ExitStates, Tensor], dict],
    batch_size: int,
    *,
    title: str,
    keep: Path | None = None,
    share: Share = ALONE,
) -> list[dict]:
    """What ``read`` makes of each text.

    Args:
        model: a multi-exit model.
        rows: with "prompt" and "tokens", the continuation.
        exits: whose states are wanted.
        read: takes a row, the states (T, d) at the positions that predict its continuation, and its tokens (T,).
        title, keep, share: as for ``in_batches``.
    """
    encoded = [tokenizer(row["prompt"])["input_ids"] + row["tokens"] for row in rows]
    lengths = [len(ids) for ids in encoded]

    @torch.inference_mode()
    def work(batch: list[int]) -> list[dict]:
        ids, mask = pad([encoded[i] for i in batch], pad_token(tokenizer), "right", model.device)
        states = model.exit_states(ids, attention_mask=mask, layers=tuple(exits))
        found = []
        for place, i in enumerate(batch):
            before = slice(lengths[i] - len(rows[i]["tokens"]) - 1, lengths[i] - 1)  # the position before a token
            here = states.map(lambda state, at=(place, before): state[at])
            found.append(read(rows[i], here, torch.tensor(rows[i]["tokens"], device=model.device)))
        return found

    tokens = sum(lengths) // max(1, len(rows))
    return in_batches(range(len(rows)), lengths, batch_size, work, tokens=tokens, title=title, keep=keep, share=share)
