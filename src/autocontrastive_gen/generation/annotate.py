"""What the exits predict along a text: its likelihood under the original head, and the tokens that contrast changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from torch import Tensor

from autocontrastive_gen.generation.batches import ALONE, Share
from autocontrastive_gen.generation.rereading import reread
from autocontrastive_gen.modeling.exit_states import ExitStates
from autocontrastive_gen.modeling.layers import ORIGINAL

DIGITS = 4
"""Decimals of a probability: what a reader compares, and fewer than the order of sums can change."""


def annotate(
    model, tokenizer, rows: Sequence[dict], batch_size: int, keep: Path | None = None, share: Share = ALONE
) -> list[dict]:
    """Add to each row what one pass over its prompt and continuation shows.

    Args:
        model: a multi-exit model, under the setting with which it generated the rows.
        rows: with "prompt" and "tokens", the continuation; if all have notes already, they are returned as they are.

    Returns:
        The rows with "nll", in nats per token under the original head, and "changed": None for settings without
        contrast, else one entry for each position of the continuation where the most likely token of the contrast is
        not the upper exit's: "position"; "upper" and "lower", the most likely token of each exit as text, and
        "upper_p" and "lower_p", its probability there; "token_p", the probability of the token that was generated under
        the upper and the lower exit. Without lower exits, the upper one stands for them.
    """
    if all("nll" in row for row in rows):
        return [*rows]
    active = model.active_exits
    exits = (ORIGINAL,) if active.method is None else (ORIGINAL, *active.exits)

    def note(row: dict, states: ExitStates, tokens: Tensor) -> dict:
        original = model.project_exit(states[model.num_layers], ORIGINAL).float()
        nll = -original.log_softmax(-1).gather(-1, tokens[:, None]).mean()
        changed = None if active.method is None else _changed(model, tokenizer, states, tokens)
        return {**row, "nll": round(float(nll), 6), "changed": changed}

    return reread(model, tokenizer, rows, exits, note, batch_size, title="annotate", keep=keep, share=share)


def _changed(model, tokenizer, states, tokens) -> list[dict]:
    """Positions where the contrast's most likely token is not the upper exit's, and what the exits say there."""
    upper, lowers = model.upper_and_lowers(states)
    preferred = upper.argmax(-1)
    lower = lowers.logits(lowers.exits[0]) if lowers.exits else upper
    rejected = lower.argmax(-1)
    positions = (model.combined(states).argmax(-1) != preferred).nonzero().flatten().tolist()
    notes = []
    for position in positions:
        p, q = (exit_[position].float().softmax(-1) for exit_ in (upper, lower))
        token, first, other = int(tokens[position]), int(preferred[position]), int(rejected[position])
        probabilities = p[first], q[other], p[token], q[token]
        notes.append(changed_token(tokenizer, position, (first, other), map(float, probabilities)))
    return notes


def changed_token(tokenizer, position: int, choices: Iterable[int], probabilities: Iterable[float]) -> dict:
    """An entry of "changed".

    Args:
        choices: the most likely tokens of the upper and of the lower exit.
        probabilities: that of its choice in each exit, then that of the token that came in each.
    """
    upper, lower = (tokenizer.decode([token]) for token in choices)
    upper_p, lower_p, *token_p = (round(p, DIGITS) for p in probabilities)
    return {
        "position": position,
        "upper": upper,
        "upper_p": upper_p,
        "lower": lower,
        "lower_p": lower_p,
        "token_p": token_p,
    }
