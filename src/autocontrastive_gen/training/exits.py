"""The exits of a model in training: float32 master weights, and the projection that each exit makes."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from autocontrastive_gen.modeling.configuration import VocabularyProjectionMode as Mode
from autocontrastive_gen.training.objective import Projection


class Exits:
    """Master weights of the exits of a multi-exit model, and the model's own head beside them.

    ``weights`` maps a layer to its cast (d, d) or its output matrix (V, d) in float32. An exit that is the model's own
    head (in DIRECT mode, or at the last layer in CAST mode) has no weights.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.mode = Mode(model.multi_exit_config.vocab_projection_mode)
        self.layers: tuple[int, ...] = tuple(model.exit_layers)
        self.final: int = model.num_layers
        self.original = _own_head(model)
        self.weights: dict[int, Tensor] = {}
        self.read()

    @property
    def vocabulary(self) -> int:
        """Number of tokens V."""
        return len(self.original.weight)

    @property
    def width(self) -> int:
        """Size d of the states."""
        return self.original.weight.shape[1]

    def read(self) -> None:
        """Copy the weights from the model."""
        self.weights = {layer: self._weight(layer).detach().float().clone() for layer in self._trained()}
        self._watch()

    def start(self, casts: dict[int, Tensor], start: str, generator: torch.Generator) -> None:
        """Set the weights with which gradient steps start.

        Args:
            casts: the least-squares cast (d, d) of each layer.
            start: "cast": those casts, or head x cast for a layer-specific head, which gives the same logits; "copy":
                the model's head, or an identity cast; "random": normal, as the family initializes its weights.
            generator: of the random weights.
        """
        head = self.original.weight.detach().float()
        for layer, weight in self.weights.items():
            if start == "random":
                deviation = getattr(self.model.config, "initializer_range", 0.02)
                value = torch.randn(weight.shape, generator=generator).to(weight) * deviation
            elif self.mode is Mode.SHARED_PROJECTION_CAST_OUTPUTS:
                value = casts[layer] if start == "cast" else torch.eye(self.width)
            else:
                value = head @ casts[layer].to(head) if start == "cast" else head
            self.weights[layer] = value.to(weight).clone()
        self._watch()

    def student(self, layer: int, states: Tensor) -> tuple[Tensor, Projection]:
        """What the exit at ``layer`` makes of final-normed ``states`` (n, d): the states it projects, and how."""
        if layer not in self.weights:
            return states, self.original
        if self.mode is Mode.SHARED_PROJECTION_CAST_OUTPUTS:
            return F.linear(states, self.weights[layer].to(states.dtype)), self.original
        return states, Projection(self.weights[layer], None, self.original.scale, self.original.soft_cap)

    def write(self) -> None:
        """Copy the weights to the model, in its own dtype."""
        for layer, weight in self.weights.items():
            self._weight(layer).data.copy_(weight.detach())

    def digests(self) -> dict[int, str]:
        """Layer -> sha256 of the weights in the model; that of the empty string for an exit without weights."""
        return {layer: _digest(self._weight(layer)) if layer in self.weights else _digest() for layer in self.layers}

    def _trained(self) -> tuple[int, ...]:
        if self.mode is Mode.SHARED_PROJECTION_DIRECT:
            return ()
        return tuple(layer for layer in self.layers if self._has_weight(layer))

    def _has_weight(self, layer: int) -> bool:
        return self.mode is Mode.LAYER_SPECIFIC_PROJECTION or self.model.exit_head(layer).cast is not None

    def _weight(self, layer: int) -> torch.nn.Parameter:
        head = self.model.exit_head(layer)
        return head.cast.weight if self.mode is Mode.SHARED_PROJECTION_CAST_OUTPUTS else head.weight

    def _watch(self) -> None:
        for weight in self.weights.values():
            weight.requires_grad_(True)


def _own_head(model: Any) -> Projection:
    """The model's head, with scaling and soft cap; a scale after the cap equals a larger cap on larger logits."""
    head, scale, cap = model.exit_head("original"), 1.0, None
    for step in model.anatomy.after_head:
        if step.kind == "softcap":
            cap = step.constant
            continue
        factor = step.constant if step.kind == "times" else 1 / step.constant
        scale, cap = scale * factor, None if cap is None else cap * factor
    return Projection(head.weight.detach(), None if head.bias is None else head.bias.detach(), scale, cap)


def _digest(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
