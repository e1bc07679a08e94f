"""Span corruption, the objective with which T5 was trained (Raffel et al. 2020, arXiv 1910.10683, section 3.1.4)."""

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
    """Encoder input and target of one text: sentinels replace random spans, and the target spells the spans out.

    Spans never touch, and the text starts with a token that is kept.

    Args:
        tokens: the text.
        sentinels: tokens that stand for the spans, used in order.
        eos: the token that ends both.
        generator: of the spans.
        density: share of the tokens in spans.
        mean_span: mean number of tokens per span.

    Raises:
        InputError: the text has fewer than two tokens, or more spans than there are sentinels.

    >>> inputs, target = corrupt([11, 12, 13, 14, 15, 16], [1, 2], 0, torch.Generator().manual_seed(0))
    >>> inputs, target
    ([11, 12, 13, 14, 15, 1, 0], [1, 16, 0])
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
    """A division of ``total`` into ``count`` positive numbers, all divisions being equally likely."""
    cuts = torch.randperm(total - 1, generator=generator)[: count - 1].sort().values + 1
    edges = [0, *cuts.tolist(), total]
    return [stop - start for start, stop in zip(edges, edges[1:], strict=False)]
