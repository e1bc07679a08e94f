"""What the exits predict along a text: its likelihood under the original head, and the tokens that contrast changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from autocontrastive_gen.generation.batches import ALONE, Share, in_batches, pad, pad_token
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
    encoded = [tokenizer(row["prompt"])["input_ids"] + row["tokens"] for row in rows]

    def work(batch: list[int]) -> list[dict]:
        notes = _notes(model, tokenizer, [encoded[i] for i in batch], [len(rows[i]["tokens"]) for i in batch])
        return [{**rows[i], **note} for i, note in zip(batch, notes, strict=True)]

    lengths = [len(ids) for ids in encoded]
    tokens = sum(lengths) // max(1, len(rows))
    return in_batches(
        range(len(rows)), lengths, batch_size, work, tokens=tokens, title="annotate", keep=keep, share=share
    )


@torch.inference_mode()
def _notes(model, tokenizer, encoded: list[list[int]], kept: list[int]) -> list[dict]:
    """Notes on the last ``kept`` tokens of each text."""
    ids, mask = pad(encoded, pad_token(tokenizer), "right", model.device)
    active = model.active_exits
    exits = (ORIGINAL,) if active.method is None else (ORIGINAL, *active.exits)
    states = model.exit_states(ids, attention_mask=mask, layers=exits)
    notes = []
    for row, (sequence, count) in enumerate(zip(encoded, kept, strict=True)):
        before = slice(len(sequence) - count - 1, len(sequence) - 1)  # the position before a token predicts it
        here = states.map(lambda state, at=(row, before): state[at])
        original = model.project_exit(here[model.num_layers], ORIGINAL).float()
        tokens = torch.tensor(sequence[-count:], device=model.device)
        nll = -original.log_softmax(-1).gather(-1, tokens[:, None]).mean()
        changed = None if active.method is None else _changed(model, tokenizer, here, tokens)
        notes.append({"nll": round(float(nll), 6), "changed": changed})
    return notes


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
