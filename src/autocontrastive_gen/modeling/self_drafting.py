"""Assisted generation in which an exit of the model drafts for the model: ``generate(assistant_early_exit=layer)``.

The model checks what its exit proposes, so greedy search gives the tokens that it gives without a draft. For a plain
model, transformers ends the trunk at that layer and reads it with the last layer's head; here the exit that was trained
for the layer reads it.
"""

import copy
from typing import Any

from transformers import GenerationConfig

from autocontrastive_gen.foundation.errors import InputError

KEY = "assistant_early_exit"


def with_draft(model: Any, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """Arguments of ``generate`` (after the inputs), with a draft model in place of ``assistant_early_exit``.

    Args:
        model: a multi-exit model.
        args: positional arguments; the first one is the generation configuration.
        kwargs: arguments by name.

    Raises:
        InputError: the model has no such exit, or another assistant is given as well.
    """
    if getattr(model.generation_config, KEY, None) is not None:
        raise InputError(f"generation_config.{KEY}: set it to None in the model, and give {KEY} to generate")
    config = args[0] if args else kwargs.get("generation_config")
    layer = kwargs.get(KEY, getattr(config, KEY, None))
    if layer is None:
        return args, kwargs
    if kwargs.get("assistant_model") is not None:
        raise InputError(f"{KEY}={layer} and assistant_model can't be used together; leave one of them out")
    kwargs = {**kwargs, "assistant_model": draft_of(model, layer)}
    kwargs.pop(KEY, None)
    if config is not None:
        without: GenerationConfig = copy.copy(config)
        setattr(without, KEY, None)
        args, kwargs = ((without, *args[1:]), kwargs) if args else (args, {**kwargs, "generation_config": without})
    return args, kwargs


def draft_of(model: Any, layer: int) -> Any:
    """A view of the model, sharing its weights, that generates from the exit of ``layer``."""
    if isinstance(layer, bool) or layer not in model.exit_layers:
        exits = ", ".join(map(str, model.exit_layers)) or "none yet"
        raise InputError(f"{KEY}={layer!r}: the model has no such exit to draft with; its exits: {exits}")
    draft = copy.copy(model)
    draft.set_exits(output_layer_index=layer)
    return draft
