"""One model under many settings for lm-eval, with a single pass through its trunk for all of them."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from autocontrastive_gen.evaluation.lm_eval_harness.adapter import MultiExitLM
from autocontrastive_gen.modeling.exit_states import ExitStates
from autocontrastive_gen.modeling.layers import ORIGINAL


class SharedTrunkLM(MultiExitLM):
    """Evaluates the same tasks again and again, each time with the setting that its model has then.

    It keeps the states of all exits at the positions that are scored, so only the first evaluation runs the trunk. That
    takes memory in proportion to requests and exits; it suits a few hundred requests.

    Args:
        model: a multi-exit model on its device.
        tokenizer: its tokenizer.
        batch_size: requests per batch.
    """

    def __init__(self, model: Any, tokenizer: Any, batch_size: int) -> None:
        super().__init__(pretrained=model, tokenizer=tokenizer, batch_size=batch_size)
        self._states: dict[tuple, ExitStates] = {}

    def _logits(self, ids: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        key = tuple((*row, None, *kept) for row, kept in zip(ids.tolist(), positions.tolist(), strict=True))
        if key not in self._states:
            layers = (*self.model.exit_layers, ORIGINAL)
            self._states[key] = self.model.exit_states(ids, mask, layers, logits_to_keep=positions)
        return self.model.combined(self._states[key])
