"""What every layer wants at one position of a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from autocontrastive_gen.inspection.exit_logits import layers_to_read
from autocontrastive_gen.modeling.layers import Exit


@torch.inference_mode()
def layer_choices(model, tokenizer, before: Sequence[int], token: int, count: int = 6) -> list[dict[str, Any]]:
    """The most likely next tokens of every exit, of the original head, and of the setting in use if it is a contrast.

    Args:
        model: a decoder-only multi-exit model.
        before: tokens (T,) of the text before the position.
        token: the token that came.
        count: tokens per exit.

    Returns:
        Rows ``{"exit", "choices": [{"text", "probability", "came"}], "came": {"probability", "rank"}}``: first the
        setting in use, as exit "setting", then the exits from the last to the first. Ranks count from 1.
    """
    active = model.active_exits
    exits = layers_to_read(model, None)
    ids = torch.tensor([list(before)], device=model.device)
    states = model.exit_states(ids, layers=tuple(dict.fromkeys((*exits, *active.exits))))
    here = states.map(lambda state: state[0, -1:])
    rows: list[tuple[Exit, Tensor]] = []
    if active.method is not None:
        rows.append(("setting", model.combined(here)))
    rows += [(exit_, model.project_exit(here[model.layer_of(exit_)], exit_)) for exit_ in reversed(exits)]
    return [{"exit": exit_, **_choices(tokenizer, logits[0], token, count)} for exit_, logits in rows]


def _choices(tokenizer, logits: Tensor, token: int, count: int) -> dict[str, Any]:
    probabilities = logits.float().softmax(-1)  # of log-probabilities, the same probabilities
    top = probabilities.topk(min(count, len(probabilities)))
    choices = [
        {"text": tokenizer.decode([index]), "probability": round(value, 4), "came": index == token}
        for value, index in zip(top.values.tolist(), top.indices.tolist(), strict=True)
        if value > 0
    ]
    own = probabilities[token]
    came = {"probability": round(float(own), 4), "rank": int((probabilities > own).sum()) + 1}
    return {"choices": choices, "came": came}
