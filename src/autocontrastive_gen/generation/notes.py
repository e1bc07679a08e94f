"""Notes on continuations, taken while they are generated: what ``annotate`` finds in one more pass over each text."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor

from autocontrastive_gen.generation.annotate import changed_token
from autocontrastive_gen.generation.decoder import Decoder
from autocontrastive_gen.modeling.layers import ORIGINAL, Exit


class Notes:
    """Watches one call of ``generate`` in which every row is one text from beginning to end.

    Args:
        model: a multi-exit model whose upper exit is the original head, and that nothing else watches.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._contrasts = model.active_exits.method is not None
        self._upper: Tensor | None = None  # (B, V)
        self._lower: tuple[Exit, Tensor] | None = None  # the first lower exit and its states (B, d)
        self._predicted: Tensor | None = None  # log-probabilities (B, V) of the token that comes next
        self._nll: list[Tensor] = []
        self._changed: list[tuple[int, Tensor, Tensor, Tensor, Tensor | None]] = []
        model.observer = self._observe
        model._forward_hooks = OrderedDict()  # a shallow copy shares those of the model
        model.register_forward_hook(self._step, with_kwargs=True)

    @staticmethod
    def suit(model: Any, decoder: Decoder) -> bool:
        """Whether notes can be taken: no beams, no loop of the decoder's own, the original head above."""
        active = getattr(model, "active_exits", None)
        if active is None or not decoder.follows_one_text:
            return False
        return active.upper == ORIGINAL and active.early is None

    @torch.inference_mode()
    def of(self, tokenizer, tokens: Tensor) -> list[dict]:
        """Per row of the continuations (B, T), "nll" and "changed" as ``annotate`` describes them."""
        self._settle(tokens[:, -1])
        nll = torch.stack(self._nll)  # (T, B)
        changed: list[list[dict]] = [[] for _ in tokens]
        for position, rows, upper, upper_p, states in self._changed:
            came, token_p = tokens[rows, position], (-nll[position, rows]).exp()
            choices, probabilities = [upper, upper], [upper_p, upper_p, token_p, token_p]
            if states is not None:
                lower = self._model.project_exit(states, self._lower[0]).float().softmax(-1)
                lower_p, choices[1] = lower.max(-1)
                probabilities[1::2] = lower_p, lower.gather(-1, came[:, None]).squeeze(-1)
            of_rows = zip(rows.tolist(), torch.stack(choices, -1), torch.stack(probabilities, -1), strict=True)
            for row, its, likely in of_rows:
                changed[row].append(changed_token(tokenizer, position, its.tolist(), likely.tolist()))
        return [
            {"nll": round(mean, 6), "changed": its if self._contrasts else None}
            for mean, its in zip(nll.mean(0).tolist(), changed, strict=True)
        ]

    def _observe(self, upper: Tensor, lowers: Any) -> None:
        self._upper = upper[:, -1]
        self._lower = (lowers.exits[0], lowers.states(lowers.exits[0])[:, -1]) if lowers.exits else None

    def _step(self, model: Any, args: tuple, kwargs: dict, output: Any) -> None:
        if self._predicted is not None:
            self._settle(kwargs["input_ids"][:, -1])
        result = output.logits[:, -1]
        upper = self._upper if self._contrasts else result
        self._predicted = upper.float().log_softmax(-1)
        if self._contrasts:
            preferred = upper.argmax(-1)
            rows = (result.argmax(-1) != preferred).nonzero().flatten()
            if len(rows):
                states = None if self._lower is None else self._lower[1][rows]
                likely = self._predicted[rows, preferred[rows]].exp()
                self._changed.append((len(self._nll), rows, preferred[rows], likely, states))

    def _settle(self, tokens: Tensor) -> None:
        """The tokens (B,) that came."""
        self._nll.append(-self._predicted.gather(-1, tokens[:, None]).squeeze(-1))
