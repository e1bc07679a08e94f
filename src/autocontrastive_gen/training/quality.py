"""How good each exit is on held-out text: perplexity, agreement with the last layer, entropy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.foundation.processes import Processes
from autocontrastive_gen.training.blocks import pack
from autocontrastive_gen.training.corpus import check_tokens
from autocontrastive_gen.training.exits import Exits
from autocontrastive_gen.training.objective import Projection
from autocontrastive_gen.training.states import TOKENS_AT_ONCE, FrozenTrunk, States

CHUNK_BYTES = 32 << 20
"""Size of the float32 logits that are measured at once; three such buffers are in use."""

Quality = dict[str, dict[str, dict[str, float]]]
"""{domain: {layer or "original": {perplexity, agreement, entropy, tokens, nll_error, agreement_error}}}

``nll_error`` and ``agreement_error`` are standard errors of the mean negative log-likelihood (nats per token) and of
the agreement. They are taken over blocks of text, since the tokens of a text are not independent; a single block has
none.
"""


class Validation:
    """Held-out text of every domain and the trunk's states for it, in memory: the trunk runs over it once.

    Args:
        trunk: the model, with the exits' layers and the last.
        tokenizer: the tokenizer that belongs to the model.
        texts: domain -> documents.
        block_size: tokens per block.
        tokens: tokens per domain, at most; one block at least.
        processes: the processes that share the blocks.

    Raises:
        InputError: a domain has less than one block of text, or a token is not in the model's vocabulary.
    """

    def __init__(
        self,
        trunk: FrozenTrunk,
        tokenizer: Any,
        texts: Mapping[str, Iterable[str]],
        block_size: int,
        tokens: int,
        processes: Processes,
    ) -> None:
        self.final, self.processes = trunk.layers[-1], processes
        self.parts: dict[str, tuple[States, Tensor, int]] = {}
        for domain, documents in texts.items():
            blocks = list(islice(pack(documents, tokenizer, block_size), max(1, tokens // block_size)))
            if not blocks:
                raise InputError(
                    f"validation text of {domain}: less than one block of {block_size} tokens; give more of it, or "
                    "lower block_size"
                )
            check_tokens(max(int(block.max()) for block in blocks), trunk.vocabulary)
            own = torch.from_numpy(np.stack(blocks))[processes.rank :: processes.world]
            states = _states(trunk, own, most=-(-len(blocks) // processes.world))
            self.parts[domain] = states, own[:, 1:].to(trunk.model.device), len(blocks)

    def measure(self, exits: Exits, bf16: bool) -> Quality:
        """Quality of the exits with their present weights, and of the original head.

        Args:
            exits: the exits.
            bf16: compute the matrix products in bfloat16.
        """
        quality: Quality = {}
        for domain, (states, labels, blocks) in self.parts.items():
            sums = _sums(exits, states, labels, self.final, torch.bfloat16 if bf16 else torch.float32)
            moments = torch.stack([sums.sum(1), sums.square().sum(1)], 1)
            self.processes.sum([moments])
            quality[domain] = {
                str(name): _means(first, second, blocks, labels.shape[1])
                for name, (first, second) in zip(("original", *exits.layers), moments.tolist(), strict=True)
            }
        return quality


def pooled_perplexity(quality: Quality, layer: int | str) -> float:
    """Perplexity over the tokens of all domains together."""
    rows = [domain[str(layer)] for domain in quality.values()]
    tokens = sum(row["tokens"] for row in rows)
    return math.exp(sum(row["tokens"] * math.log(row["perplexity"]) for row in rows) / tokens)


def _states(trunk: FrozenTrunk, blocks: Tensor, most: int) -> States:
    """States (n, d) of all positions but the last of each block, which predicts no token.

    ``most`` is the largest number of blocks that a process has.
    """
    size = max(1, TOKENS_AT_ONCE // blocks.shape[1])
    runs = [trunk(part) for part in blocks.split(size)]
    if len(runs) * size < most:
        trunk.join()
    return {layer: torch.cat([run[layer][:, :-1].flatten(0, 1) for run in runs]) for layer in trunk.layers}


@torch.no_grad()
def _sums(exits: Exits, states: States, labels: Tensor, final: int, dtype: torch.dtype) -> Tensor:
    """Sums over each block of cross-entropy, entropy and agreement: float64 (1 + exits, blocks, 3).

    ``labels`` are (blocks, T); the model's own head comes first.
    """
    rows, flat = max(1, CHUNK_BYTES // (4 * exits.vocabulary)), labels.flatten()
    found = torch.empty(1 + len(exits.layers), len(flat), 3, dtype=torch.float64, device=labels.device)
    shape = (min(rows, len(flat)), exits.vocabulary)
    buffers = [torch.empty(shape, dtype=torch.float32, device=labels.device) for _ in range(2)]
    matrices = [exits.original, *(exits.student(layer, states[layer][:1])[1] for layer in exits.layers)]
    matrices = [_cast(head, dtype) for head in matrices]
    for start in range(0, len(flat), rows):
        part = slice(start, start + rows)
        top = None
        for i, layer in enumerate((final, *exits.layers)):
            inputs = states[layer][part].to(dtype)
            inputs = exits.student(layer, inputs)[0] if i else inputs
            logits = _logits(inputs, matrices[i], buffers[0])
            best = logits.argmax(-1)
            top = best if top is None else top
            found[i, part, 2] = (best == top).double()
            found[i, part, 0], found[i, part, 1] = _surprise(logits, flat[part], buffers[1])
    return found.view(len(found), *labels.shape, 3).sum(2)


def _surprise(logits: Tensor, labels: Tensor, buffer: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy and entropy of each row (n,), in nats; overwrites ``logits`` (n, V)."""
    logits.sub_(logits.amax(-1, keepdim=True))
    odds = torch.exp(logits, out=buffer[: len(logits)])
    total = odds.sum(-1)
    wanted = logits.gather(1, labels[:, None]).squeeze(1)
    mean = odds.mul_(logits).sum(-1) / total
    return (total.log() - wanted).double(), (total.log() - mean).double()


def _means(sums: list[float], squares: list[float], blocks: int, block_size: int) -> dict[str, float]:
    tokens = blocks * block_size
    surprise, entropy, agreed = (value / tokens for value in sums)
    found = {
        "perplexity": math.exp(min(surprise, 700.0)),  # an untrained exit may exceed what a float holds
        "agreement": agreed,
        "entropy": entropy,
        "tokens": tokens,
    }
    if blocks > 1:
        for i, name in ((0, "nll_error"), (2, "agreement_error")):
            spread = max(0.0, squares[i] - sums[i] ** 2 / blocks) / (blocks - 1)
            found[name] = math.sqrt(spread * blocks) / tokens
    return found


def _cast(head: Projection, dtype: torch.dtype) -> Projection:
    return Projection(head.weight.detach().to(dtype), head.bias, head.scale, head.soft_cap)


def _logits(inputs: Tensor, head: Projection, buffer: Tensor) -> Tensor:
    logits = buffer[: len(inputs)].copy_(inputs @ head.weight.T)
    return head.shape(logits if head.bias is None else logits.add_(head.bias.float()))
