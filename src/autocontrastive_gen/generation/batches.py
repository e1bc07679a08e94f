"""Batches that depend on nothing but the list of texts: restarts and the number of processes change no byte."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from autocontrastive_gen.foundation.files import read_jsonl, write_jsonl
from autocontrastive_gen.foundation.progress import ProgressBar
from autocontrastive_gen.foundation.resume import Kept

Rows = list[dict]
Share = tuple[int, int]
"""Index of this process, and the number of processes."""
ALONE: Share = (0, 1)


def plan_batches(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Indices of texts in batches of similar length, the longest first: a batch that is too large fails at once."""
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def in_batches(
    items: Sequence,
    lengths: Sequence[int],
    batch_size: int,
    work: Callable[[list], Rows],
    *,
    tokens: int,
    title: str,
    keep: Path | None = None,
    share: Share = ALONE,
) -> Rows:
    """Rows of ``work``, one per item, in the order of ``items``.

    Args:
        items: ``work`` takes a list of them and returns one row for each.
        lengths: one number per item; batches hold items of similar length.
        tokens: tokens per item, for the rate that the progress bar shows.
        title: label of the progress bar.
        keep: folder for finished batches, which a later call reads back. Its name must stand for everything that can
            change a row.
        share: this process and the number of processes; whole batches are dealt out in turn, and every process gets
            all rows.
    """
    rank, world = share
    mine = list(enumerate(plan_batches(lengths, batch_size)))[rank::world]
    kept = Kept(keep) if keep else None
    stored = {number: read_jsonl(path) for number, _ in mine if kept and (path := kept.find(_part(number)))}
    done: dict[int, dict] = {}
    with ProgressBar(
        total=tokens * sum(len(batch) for _, batch in mine),
        initial=tokens * sum(map(len, stored.values())),
        desc=title,
        unit=" tokens",
        unit_scale=True,
        disable=rank > 0,
    ) as bar:
        for number, batch in mine:
            rows = stored.get(number)
            if rows is None:
                rows = work([items[i] for i in batch])
                if kept:
                    with kept.write(_part(number)) as temporary:
                        write_jsonl(temporary, rows)
                bar.update(tokens * len(batch))
            done.update(zip(batch, rows, strict=True))
    if world > 1:
        from accelerate.utils import gather_object

        done = dict(gather_object(list(done.items())))
    return [done[i] for i in range(len(items))]


def _part(number: int) -> str:
    return f"{number:05d}.jsonl"


def pad(sequences: list[list[int]], token: int, side: str, device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids and mask, both (B, longest), padded on ``side``: "left" or "right"."""
    longest = max(map(len, sequences))
    ids = torch.full((len(sequences), longest), token)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        place = slice(longest - len(sequence), None) if side == "left" else slice(len(sequence))
        ids[row, place] = torch.tensor(sequence)
        mask[row, place] = 1
    return ids.to(device), mask.to(device)


def pad_token(tokenizer) -> int:
    """A token to pad with; padding is masked out, so any token will do."""
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token is not None:
            return token
    return 0
