"""Logits of every layer in float32, through its exit or through the model's own head."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration
from autocontrastive_gen.modeling.heads import ExitHead
from autocontrastive_gen.modeling.layers import ORIGINAL, Exit
from autocontrastive_gen.modeling.multi_exit import MultiExitModel

WIDENED = 1 << 25
"""Entries of a 16-bit output matrix that are widened to float32 at once: 128 MiB."""


def with_exits(model: Any) -> MultiExitModel:
    """The model, or one that shares its weights and reads each layer with the model's own head if it has no exits.

    The setting of what is returned can be changed without a change to ``model``.

    Raises:
        TypeError: it is no model of transformers.
        InputError: it can't be given exits.
    """
    if isinstance(model, MultiExitModel) and model.exit_layers:
        return copy.copy(model)
    shared = copy.copy(model)
    if hasattr(model, "config"):
        shared.config = copy.deepcopy(model.config)
    return AutoMultiExitModel.from_model(shared, MultiExitConfiguration("SHARED_PROJECTION_DIRECT"))


def layers_to_read(model: MultiExitModel, layers: Any) -> tuple[Exit, ...]:
    """The layers of a lens in ascending order, ``"original"`` last.

    Args:
        layers: layers, ``"all"``, or None for those with an exit.

    Raises:
        InputError: the model has no such layer.
    """
    depth = model.num_layers
    if layers is None:
        layers = model.exit_layers
    elif layers == "all":
        layers = range(1, depth + 1)
    try:
        chosen = {layer if layer == ORIGINAL else int(str(layer)) for layer in layers}
    except (TypeError, ValueError):
        chosen = {0}  # refused below
    numbers = sorted(layer for layer in chosen if layer != ORIGINAL)
    if numbers and not 1 <= numbers[0] <= numbers[-1] <= depth:
        raise InputError(f"layers: give 'all', or layers from 1 to {depth}, got {layers!r}")
    return (*(layer for layer in numbers if layer != depth or has_own_head(model, layer)), ORIGINAL)


def has_own_head(model: MultiExitModel, layer: Exit) -> bool:
    """Whether an exit with parameters of its own reads the layer; else the model's own head does."""
    if layer == ORIGINAL or layer not in model.listed_layers:
        return False
    head, original = model.exit_head(layer), model.exit_head(ORIGINAL)
    return head.cast is not None or head.output is not original.output


def head_of(model: MultiExitModel, layer: Exit) -> ExitHead:
    """What reads a layer."""
    return model.exit_head(layer if has_own_head(model, layer) else ORIGINAL)


def wide_logits(model: MultiExitModel, head: ExitHead, states: Tensor) -> Tensor:
    """Logits (rows, V) in float32 from final-normed states (rows, d).

    A 16-bit product would be rounded to 8 significant bits: the matrix is widened, some of its rows at a time.
    """
    cast = head.cast_states(states)
    if not head.rows_say_all or head.weight.dtype not in (torch.float16, torch.bfloat16):
        return model.finished_logits(head.product_of_cast(cast).float())
    cast = cast.to(head.weight.device, torch.float32)
    at_once = max(1, WIDENED // head.weight.shape[-1])
    with torch.autocast(head.weight.device.type, enabled=False):
        product = torch.cat([cast @ rows.float().T for rows in head.weight.split(at_once)], -1)
    return model.finished_logits(product if head.bias is None else product + head.bias.float())
