"""What the exits thought of a text: its likelihood under the original head, and the tokens that contrast changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from autocontrastive_gen.generation.batches import ALONE, Share, in_batches, pad, pad_token
from autocontrastive_gen.modeling.configuration import ORIGINAL


def annotate(
    model, tokenizer, rows: Sequence[dict], batch_size: int, keep: Path | None = None, share: Share = ALONE
) -> list[dict]:
    """Add to each row what one pass over its prompt and continuation tells.

    Args:
        model: a multi-exit model, set as it was when it generated the rows.
        rows: with "prompt" and "tokens", the continuation.

    Returns:
        The rows with "nll", nats a token under the original head, and "changed": None for settings without
        contrast, else one ``{"position", "upper", "lower"}`` for each position of the continuation where the most
        likely token of the contrast is not the upper exit's, with the text of the token that each exit wanted.
    """
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
    upper, lowers, method = _contrast(model)
    exits = [ORIGINAL] if method is None else list(dict.fromkeys([ORIGINAL, upper, *lowers]))
    ids, mask = pad(encoded, pad_token(tokenizer), "right", model.device)
    layers = {exit_: model.num_layers if exit_ == ORIGINAL else exit_ for exit_ in exits}
    states = model.exit_states(ids, attention_mask=mask, layers=tuple(set(layers.values())))
    notes = []
    for row, (sequence, count) in enumerate(zip(encoded, kept, strict=True)):
        before = slice(len(sequence) - count - 1, len(sequence) - 1)  # the position before a token predicts it
        logits = {
            exit_: model.project_exit(states[layer][row, before], exit_).float() for exit_, layer in layers.items()
        }
        tokens = torch.tensor(sequence[-count:], device=model.device)
        nll = -logits[ORIGINAL].log_softmax(-1).gather(-1, tokens[:, None]).mean()
        changed = None if method is None else _changed(tokenizer, logits, upper, lowers, method)
        notes.append({"nll": round(float(nll), 6), "changed": changed})
    return notes


def _contrast(model):
    """Upper exit, lower exits and method of the model's setting; the method is None without contrast."""
    config = model.multi_exit_config
    if config.use_original_head or config.contrast_layer_indices is None:
        return ORIGINAL, (), None
    upper, lower = config.contrast_layer_indices
    method = config.contrast_function
    lowers = getattr(method, "layers", ()) or (() if lower is None else (lower,))
    return upper, lowers, method


def _changed(tokenizer, logits, upper, lowers, method) -> list[dict]:
    below = {exit_: logits[exit_] for exit_ in lowers}
    if getattr(method, "needs", "lower") in ("layers", "upper"):
        combined = method.combine(logits[upper], below)
    else:
        combined = method(logits[upper], below[lowers[0]])
    wanted = logits[upper].argmax(-1)
    positions = (combined.argmax(-1) != wanted).nonzero().flatten().tolist()
    rejected = below[lowers[0]].argmax(-1) if lowers else wanted
    return [
        {
            "position": position,
            "upper": tokenizer.decode([int(wanted[position])]),
            "lower": tokenizer.decode([int(rejected[position])]),
        }
        for position in positions
    ]
