"""The states that one pass leaves at the exits, and the lower exits made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from autocontrastive_gen.modeling.active_exits import ActiveExits
from autocontrastive_gen.modeling.heads import ExitHead
from autocontrastive_gen.modeling.layers import Exit
from autocontrastive_gen.modeling.method import Lowers
from autocontrastive_gen.modeling.unrounded import unrounded, upper_logits


class ExitStates(Mapping[int, Tensor]):
    """Layer -> final-normed states (..., d), each normed when it is first asked for.

    Args:
        raw: states of layers as the blocks left them.
        top: the highest layer and its normed states, unless it is among the others.
        norm: (layer, state, final_norm) to what the output matrix would see, with or without the final norm.
    """

    def __init__(
        self, raw: Mapping[int, Tensor], top: Mapping[int, Tensor], norm: Callable[[int, Tensor, bool], Tensor]
    ) -> None:
        self._raw, self._top, self._norm = dict(raw), dict(top), norm
        self._normed = dict(top)

    def __getitem__(self, layer: int) -> Tensor:
        if layer not in self._normed:
            self._normed[layer] = self._norm(layer, self._raw[layer], True)
        return self._normed[layer]

    def __iter__(self) -> Iterator[int]:
        return iter((*self._raw, *self._top))

    def __len__(self) -> int:
        return len(self._raw) + len(self._top)

    def unnormed(self, layer: int) -> Tensor:
        """What the output matrix would see without the final norm.

        The states of the highest layer are always normed, as the last hidden states of transformers are.
        """
        return self._norm(layer, self._raw[layer], False) if layer in self._raw else self._top[layer]

    @property
    def named(self) -> dict[str, Tensor]:
        """Its tensors by names to store them under; ``from_named`` makes the same states of them."""
        of_top = {f"top.{layer}": state for layer, state in self._top.items()}
        return {f"raw.{layer}": state for layer, state in self._raw.items()} | of_top

    @classmethod
    def from_named(cls, named: Mapping[str, Tensor], norm: Callable[[int, Tensor, bool], Tensor]) -> ExitStates:
        """The states of which ``named`` are the tensors.

        Args:
            norm: as of the class.
        """
        kinds: dict[str, dict[int, Tensor]] = {"raw": {}, "top": {}}
        for name, state in named.items():
            kind, _, layer = name.partition(".")
            kinds[kind][int(layer)] = state
        return cls(kinds["raw"], kinds["top"], norm)

    def map(self, function: Callable[[Tensor], Tensor]) -> ExitStates:
        """The same function of every state."""
        raw, top = ({layer: function(x) for layer, x in of.items()} for of in (self._raw, self._top))
        return ExitStates(raw, top, self._norm)


class ModelLowers(Lowers):
    """The lower exits of a pass through a model.

    Args:
        model: a multi-exit model.
        active: the upper exit, and the lower ones in the order in which the method wants them.
        states: of the layers of these exits.
        deciding: tokens (rows, K) at which logits are unrounded (``unrounded.py``), or None.
        steps: whether the states (rows, d) are those of decoding steps, of which an output matrix wants (rows, 1, d).
    """

    def __init__(
        self,
        model: Any,
        active: ActiveExits,
        states: ExitStates,
        deciding: Tensor | None = None,
        steps: bool = False,
    ) -> None:
        self.exits, self._active = active.lower, active
        self.layers, self.upper_layer = tuple(map(model.layer_of, active.lower)), model.layer_of(active.upper)
        self._model, self._states, self._deciding, self._steps = model, states, deciding, steps

    def logits(self, exit_: Exit, final_norm: bool = True) -> Tensor:
        head = self._model.exit_head(exit_)
        cast = self._cast(head, self._state(exit_, final_norm))
        return self._finished(head.product_of_cast(cast), head, cast)

    def all_logits(self, final_norm: bool = True) -> list[Tensor]:
        heads = [self._model.exit_head(exit_) for exit_ in self.exits]
        if len({id(head.output) for head in heads}) != 1:
            return super().all_logits(final_norm)
        states = [self._state(exit_, final_norm) for exit_ in self.exits]
        cast = torch.stack([self._cast(head, state) for head, state in zip(heads, states, strict=True)])
        products = heads[0].product_of_cast(cast)  # the matrix is read once for all of them
        return [self._finished(*each) for each in zip(products, heads, cast, strict=True)]

    def logits_at(self, exit_: Exit, token_ids: Tensor) -> Tensor:
        product = self._model.exit_head(exit_).product_at(self.states(exit_).flatten(0, -2), token_ids)
        return self._model.finished_logits(product)

    def candidate_limit(self, exit_: Exit, rows: int) -> int:
        return self._model.exit_head(exit_).gather_limit(rows)

    def states(self, exit_: Exit) -> Tensor:
        return self._state(exit_)

    def part(self, start: int, stop: int) -> ModelLowers:
        state = self._states[self.upper_layer]
        states = self._states.map(lambda state: state.flatten(0, -2)[start:stop])
        deciding = None if self._deciding is None else self._deciding[start:stop]
        steps = self._steps or (state.dim() > 2 and state.shape[-2] == 1)
        return ModelLowers(self._model, self._active, states, deciding, steps)

    def _finished(self, product: Tensor, head: ExitHead, cast_states: Tensor) -> Tensor:
        finish = self._model.finished_logits
        logits = unrounded(finish(product), self._deciding, head, cast_states, finish)
        return logits.squeeze(-2) if self._steps else logits

    def _cast(self, head: ExitHead, states: Tensor) -> Tensor:
        cast = head.cast_states(states)
        return cast.unsqueeze(-2) if self._steps else cast

    def _state(self, exit_: Exit, final_norm: bool = True) -> Tensor:
        layer = self._model.layer_of(exit_)
        return self._states[layer] if final_norm else self._states.unnormed(layer)


def upper_and_lowers(model: Any, active: ActiveExits, states: ExitStates) -> tuple[Tensor, ModelLowers]:
    """What a contrast method reads of a pass: the upper exit's logits (..., V), and the lower exits."""
    state = states[model.layer_of(active.upper)]
    upper, deciding = upper_logits(model.exit_head(active.upper), state, model.finished_logits)
    return upper, ModelLowers(model, active, states, deciding)
