"""One model under many settings for lm-eval, with a single pass through its trunk for all of them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from autocontrastive_gen.evaluation.lm_eval_harness.adapter import MultiExitLM
from autocontrastive_gen.modeling.exit_states import ExitStates
from autocontrastive_gen.modeling.kept_states import KeptStates, recalled
from autocontrastive_gen.modeling.layers import ORIGINAL


class SharedTrunkLM(MultiExitLM):
    """Evaluates the same tasks again and again, each time with the setting that its model has then.

    It keeps the states of layers at the positions that are scored, so only the first evaluation runs the trunk.

    Args:
        layers: whose states are kept, besides the last one and those that a setting reads; one that reads another layer
            runs the trunk again.
        keep: folder for the states, which another process reads as well. Its name must stand for what can change them
            besides the weights and their type. Without it they are kept in memory, in proportion to requests and
            layers, which suits a few hundred requests.
        arguments, options: of ``MultiExitLM``.
    """

    def __init__(self, *arguments: Any, layers: Iterable[int] = (), keep: Path | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._layers = (*layers, ORIGINAL)
        self._states: dict[tuple, ExitStates] | KeptStates = {} if keep is None else KeptStates(keep, self.model)

    def _logits(self, ids: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        read = {self.model.layer_of(exit_) for exit_ in self.model.active_exits.exits}
        key = tuple((*row, None, *kept) for row, kept in zip(ids.tolist(), positions.tolist(), strict=True))
        # up to the last layer whatever the setting reads: what is computed depends on no earlier evaluation
        layers = (*self._layers, *read)
        run = partial(self.model.exit_states, ids, mask, layers, logits_to_keep=positions)
        return self.model.combined(recalled(self._states, key, read, run))
