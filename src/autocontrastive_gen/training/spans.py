"""Span corruption, the objective that T5 was trained with (Raffel et al. 2020, section 3.1.4)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from autocontrastive_gen.foundation.errors import InputError


def corrupt(
    tokens: Sequence[int],
    sentinels: Sequence[int],
    eos: int,
    generator: torch.Generator,
    density: float = 0.15,
    mean_span: float = 3.0,
) -> tuple[list[int], list[int]]:
    """Encoder input and target of one text: random spans are replaced by sentinels, the target spells them out.

    About ``density`` of the tokens are taken out in spans of ``mean_span`` on average; spans never touch, and the text
    starts with a kept token. ``sentinels`` are used in order. ValueError for texts of fewer than two tokens or with
    more spans than sentinels.
    """
    if len(tokens) < 2:
        raise InputError(f"span corruption needs at least 2 tokens, got {len(tokens)}")
    noise = min(max(round(len(tokens) * density), 1), len(tokens) - 1)
    spans = min(max(round(noise / mean_span), 1), noise, len(tokens) - noise)
    if spans > len(sentinels):
        raise InputError(f"a text of {len(tokens)} tokens has {spans} spans, but there are {len(sentinels)} sentinels")
    taken = _parts(noise, spans, generator)
    kept = _parts(len(tokens) - noise, spans, generator)
    inputs, target, at = [], [], 0
    for sentinel, keep, take in zip(sentinels, kept, taken, strict=False):
        inputs += [*tokens[at : at + keep], sentinel]
        target += [sentinel, *tokens[at + keep : at + keep + take]]
        at += keep + take
    return [*inputs, eos], [*target, eos]


def _parts(total: int, count: int, generator: torch.Generator) -> list[int]:
    """``total`` as ``count`` positive numbers, all such ways equally likely."""
    cuts = torch.randperm(total - 1, generator=generator)[: count - 1].sort().values + 1
    edges = [0, *cuts.tolist(), total]
    return [stop - start for start, stop in zip(edges, edges[1:], strict=False)]
