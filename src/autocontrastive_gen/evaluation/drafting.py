"""Whether an exit could draft for its own model: how often its first choice is the token that the setting chose.

In speculative decoding (Leviathan et al. 2023) a cheap model drafts k tokens, and one pass of the expensive one
verifies them: the drafts before the first wrong one are kept, and the pass adds a token of its own. Under greedy
search, drafts matter only as long as they are right, so a generated text shows exactly how many passes it would take.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from autocontrastive_gen.foundation.statistics import by_document, interval, per_row, pooled_product
from autocontrastive_gen.generation.rereading import reread
from autocontrastive_gen.modeling.exit_states import ExitStates
from autocontrastive_gen.modeling.layers import ORIGINAL

DRAFT_LENGTHS = range(1, 9)
"""Numbers k of drafted tokens per pass that are tried."""
BATCH = 16


def drafting(model, tokenizer, rows: Sequence[dict], keep: Path | None = None, **bootstrap: Any) -> dict[str, dict]:
    """How well each exit predicts the tokens of generated texts.

    Args:
        model: a multi-exit model.
        rows: with "prompt", "tokens" (the continuation) and "document".
        keep: folder for finished batches.
        bootstrap: of ``statistics.interval``.

    Returns:
        {layer: {"agreement": interval over documents as a dict, "tokens": number of tokens,
        "per_pass": {k: tokens per pass of the model if the exit drafts k}}}.
    """
    matches = matches_of(model, tokenizer, rows, keep)
    found = {}
    for layer in map(str, model.exit_layers):
        agreed = [each[layer] for each in matches]
        counts = torch.tensor([[sum(each), len(each)] for each in agreed]).numpy()
        totals = by_document(counts, [row["document"] for row in rows])
        found[layer] = {
            "agreement": interval(totals, per_row(pooled_product), **bootstrap).as_dict(),
            "tokens": int(counts[:, 1].sum()),
            "per_pass": {
                str(k): int(counts[:, 1].sum()) / sum(passes(each, k) for each in agreed) for k in DRAFT_LENGTHS
            },
        }
    return found


def matches_of(model, tokenizer, rows: Sequence[dict], keep: Path | None = None) -> list[dict[str, list[bool]]]:
    """For each text, {layer: whether the exit's most likely token is the one that was chosen, per token}."""

    def matches(row: dict, states: ExitStates, tokens: Tensor) -> dict[str, list[bool]]:
        first = {layer: model.project_exit(states[layer], layer).argmax(-1) for layer in model.exit_layers}
        return {str(layer): (choice == tokens).tolist() for layer, choice in first.items()}

    return reread(model, tokenizer, rows, model.exit_layers, matches, BATCH, title="exits as drafts", keep=keep)


def passes(matches: Sequence[bool], drafted: int) -> int:
    """Passes of the model that a text takes if each verifies ``drafted`` drafts and adds a token of its own."""
    count, position = 0, 0
    while position < len(matches):
        for _ in range(drafted):
            if position == len(matches) or not matches[position]:
                break
            position += 1
        position, count = position + 1, count + 1
    return count


def step_costs(model) -> dict[str, float]:
    """{layer: cost c of a step that ends at its exit, relative to a step through all layers}.

    What a step costs are the weights that it multiplies with: (l blocks + cast + head) / (L blocks + head). That is the
    time of a step whose weights must be read from memory, as in a small batch.
    """
    blocks = [sum(p.numel() for p in block.parameters()) for block in model.anatomy.trunk(model)]
    original = model.exit_head(ORIGINAL).weight.numel()
    found = {}
    for layer in model.exit_layers:
        head = model.exit_head(layer)
        cast = 0 if head.cast is None else head.cast.weight.numel()
        found[str(layer)] = (sum(blocks[:layer]) + cast + head.weight.numel()) / (sum(blocks) + original)
    return found
