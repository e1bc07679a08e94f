"""Exits in the format of the tuned-lens package (Belrose et al. 2023, arXiv 2303.08112), in both directions.

A lens is ``config.json`` and ``params.pt``: for every layer i below the last, a translator ``h -> h + W_i h + b_i`` of
``hidden_states[i]``, after which come the final norm and the output matrix of the model. Exits of this kind are
``translators`` here (``heads.py``). The casts that ``fit_exits`` trains follow the final norm instead, so no translator
equals them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autocontrastive_gen.foundation.errors import FileError, InputError
from autocontrastive_gen.modeling import heads
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration, VocabularyProjectionMode

Mode = VocabularyProjectionMode
logger = logging.getLogger(__name__)
PARAMS, CONFIG, KIND = "params.pt", "config.json", "linear_tuned_lens"
HASH = "tuned_lens_unembed_hash"
"""The lens's own hash of the output matrix, among what identifies the base of exits."""


def is_tuned_lens(folder: Path) -> bool:
    """Whether a folder holds a lens."""
    return (folder / PARAMS).is_file() and (folder / CONFIG).is_file()


def read_tuned_lens(folder: Path) -> tuple[tuple[int, ...], dict[str, Tensor], dict[str, Any]]:
    """Layers, parameters by their names here, and what identifies the base model.

    The translator of the embeddings (layer 0) is left out, because the embeddings have no exit here.

    Raises:
        FileError: a file is damaged, or is no lens of linear translators.
    """
    try:
        config = json.loads((folder / CONFIG).read_text())
        if config.get("lens_type", KIND) != KIND:
            raise ValueError(f"lens_type is {config['lens_type']!r}, but must be {KIND!r}")
        depth, size = config["num_hidden_layers"], config["d_model"]
        params = torch.load(folder / PARAMS, map_location="cpu", weights_only=True)
        state = {}
        for layer in range(1, depth):
            name = f"{heads.TRANSLATORS}.{heads.cast_name(layer, depth)}"
            state[f"{name}.weight"] = params[f"{layer}.weight"]
            state[f"{name}.bias"] = params.get(f"{layer}.bias", torch.zeros(size))
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise FileError(f"{folder}: no readable tuned lens ({what}); download or train it again") from None
    base = {"num_layers": depth, "hidden_size": size, HASH: config.get("unembed_hash")}
    return tuple(range(1, depth)), state, base


def unembedding_hash(weight: Tensor) -> str:
    """The package's hash of an output matrix (V, d): that of how numpy prints it."""
    printed = np.array_str(weight.detach().cpu().float().numpy(), precision=1)
    return hashlib.sha256(printed.encode()).hexdigest()


def give_translators(model: Any, layers: tuple[int, ...]) -> None:
    """Give a multi-exit model new exits at ``layers``: translators that change nothing yet, in place of what it has.

    ``Trainer`` and ``fine_tune`` train them, and ``save_tuned_lens`` stores them.

    Raises:
        InputError: the layers are not distinct ones below the last.
    """
    layers = tuple(layers)
    known = all(type(layer) is int and 1 <= layer < model.num_layers for layer in layers)
    if not layers or not known or len(set(layers)) != len(layers):
        raise InputError(f"layers: give distinct layers from 1 to {model.num_layers - 1}, below the last; got {layers}")
    setattr(model.config, heads.TRANSLATORS_KEY, True)
    model.config.vocab_projection_mode = Mode.SHARED_PROJECTION_CAST_OUTPUTS.name
    model.config.lm_head_layer_indices = sorted(layers)
    model.create_exits()
    heads.reset_exits(model, set(heads.exit_state(model)))
    model.set_exits(MultiExitConfiguration())


def save_tuned_lens(model: Any, folder: str | os.PathLike) -> None:
    """Store a model's exits as a lens of the tuned-lens package.

    Layers without an exit, and the embeddings, get a translator that changes nothing: the logit lens.

    Raises:
        InputError: no translator equals these exits, or the package could not read this model.
    """
    _refuse_what_no_lens_says(model)
    weight, depth = model.get_output_embeddings().weight, model.num_layers
    size = weight.shape[1]
    params = {}
    for layer in range(depth):
        module = heads.translator(model, layer)
        params[f"{layer}.weight"] = torch.zeros(size, size) if module is None else _stored(module.weight)
        params[f"{layer}.bias"] = torch.zeros(size) if module is None else _stored(module.bias)
    config = {
        "base_model_name_or_path": model.config.name_or_path,
        "d_model": size,
        "num_hidden_layers": depth,
        "bias": True,
        "base_model_revision": None,
        "unembed_hash": unembedding_hash(weight),
        "lens_type": KIND,
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(params, folder / PARAMS)
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")


def _stored(parameter: Tensor) -> Tensor:
    return parameter.detach().to("cpu", torch.float32).contiguous()


def _refuse_what_no_lens_says(model: Any) -> None:
    mode = model.projection_mode
    if not model.exit_layers:
        raise InputError(f"save_tuned_lens: {type(model).__name__} has no exits; train translators (give_translators)")
    if mode is Mode.LAYER_SPECIFIC_PROJECTION:
        raise InputError(
            "save_tuned_lens: these exits have heads of their own, and a lens reads every layer with the model's; use "
            "save_exits, or train translators (give_translators)"
        )
    if mode is Mode.SHARED_PROJECTION_CAST_OUTPUTS and not hasattr(model, heads.TRANSLATORS):
        raise InputError(
            "save_tuned_lens: these casts follow the final norm, and a lens's translators come before it; use "
            "save_exits, or train translators (give_translators)"
        )
    _refuse_other_steps(model, "save_tuned_lens")


def check_model(model: Any, hash_of_base: str | None, source: str) -> None:
    """Refuse a lens for a model that does more than a lens expresses; warn if it was tuned for another output matrix.

    Raises:
        InputError: the model does more than a final norm and an output matrix after its last block.
    """
    _refuse_other_steps(model, source)
    if hash_of_base and hash_of_base != unembedding_hash(model.get_output_embeddings().weight):
        logger.warning(
            "%s: this lens seems to be tuned for another output matrix (its hash, which depends on how numpy prints, "
            "differs); check its quality",
            source,
        )


def _refuse_other_steps(model: Any, source: str) -> None:
    """Raise InputError unless only the final norm and the output matrix follow the last block."""
    anatomy = model.anatomy
    if anatomy.before_head or anatomy.after_head or len(anatomy.finish) != 1:
        raise InputError(
            f"{source}: {type(model).__name__} does more than a final norm and an output matrix after its last block "
            "(soft-capping, scaling, or a projection), which a tuned lens can't express; use exits of another kind"
        )
