"""Exits on disk, and the identity of the base model that they were trained for.

A whole checkpoint is one of transformers, with the exits' parameters under the reference's names and their mode,
layers and base in config.json; it also opens as the plain model. Exits stored alone are a small folder,
``exits.safetensors`` and ``exits_config.json``, beside an unchanged base.
"""

import hashlib
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import cached_file

from autocontrastive_gen.foundation.errors import FileError, InputError
from autocontrastive_gen.modeling import heads, tuned_lens
from autocontrastive_gen.modeling.configuration import ORIGINAL, MultiExitConfiguration, VocabularyProjectionMode

logger = logging.getLogger(__name__)

WEIGHTS = "exits.safetensors"
DESCRIPTION = "exits_config.json"
BASE_KEY = "multi_exit_base"
SIZES = ("architecture", "num_layers", "hidden_size", "vocab_size")
INEXACT = "inexact"
"""Stands for the hash of an unembedding that is not as it was trained: quantised, or rounded to float16."""


class WrongBaseError(FileError, InputError):
    """Exits that were trained for another base model."""


@dataclass(frozen=True)
class StoredExits:
    """Exits read from a folder."""

    mode: VocabularyProjectionMode
    layers: tuple[int, ...]
    base: dict[str, Any] | None
    state: dict[str, Tensor]
    translators: bool = False
    """Whether they are translators, as those of a tuned lens, and no casts."""


def base_identity(model: PreTrainedModel) -> dict[str, Any]:
    """What exits depend on: the architecture, its sizes, and the sha256 of the output matrix rounded to bfloat16.

    With the rounding, a base loaded in bfloat16 or in float32 has one identity.
    """
    weight = model.get_output_embeddings().weight
    vocabulary, size = weight.shape
    return {
        "architecture": type(model).__name__,
        "num_layers": model.num_layers,
        "hidden_size": size,
        "vocab_size": vocabulary,
        "unembedding": _unembedding_hash(model, weight),
    }


def _unembedding_hash(model: PreTrainedModel, weight: Tensor) -> str:
    quantized = getattr(model.config, "quantization_config", None) is not None
    if quantized or weight.is_meta or weight.dtype not in (torch.float32, torch.float64, torch.bfloat16):
        return INEXACT
    rounded = weight.detach().to("cpu", torch.bfloat16).contiguous()
    return hashlib.sha256(rounded.view(torch.int16).numpy().tobytes()).hexdigest()


def check_base(model: PreTrainedModel, trained_for: dict[str, Any] | None, source: str) -> None:
    """Refuse exits of another base; without a stored identity, as in the reference's checkpoints, accept them.

    Args:
        trained_for: what ``base_identity`` returned for the base of the exits.
        source: where the exits come from, for messages.

    Raises:
        WrongBaseError: the base differs; the message says in what.
    """
    if not trained_for:
        return
    here = base_identity(model)
    differs = [key for key in SIZES if key in trained_for and trained_for[key] != here[key]]
    own_heads = model.projection_mode is VocabularyProjectionMode.LAYER_SPECIFIC_PROJECTION
    if differs == ["vocab_size"] and not (own_heads and heads.exit_modules(model)):
        logger.warning(
            "%s: the base's vocabulary was resized from %s to %s after its exits were trained; check their quality",
            source, trained_for["vocab_size"], here["vocab_size"],
        )  # fmt: skip
        return
    stored = trained_for.get("unembedding", here["unembedding"])
    exact = INEXACT not in (stored, here["unembedding"])
    if not differs and not exact:
        logger.warning(
            "%s: the base is or was quantised or in float16, so it can't be compared with the base of the exits; "
            "check their quality", source,
        )  # fmt: skip
        return
    if exact and stored != here["unembedding"]:
        differs.append("unembedding")
    if differs:
        what = "; ".join(f"{key}: trained for {trained_for.get(key)}, here {here[key]}" for key in differs)
        raise WrongBaseError(f"{source}: these exits belong to another base model ({what}); load them with that one")


def check_stored_base(model: PreTrainedModel) -> None:
    """``check_base`` for a whole checkpoint, whose trunk may have been replaced since its exits were trained."""
    stored = getattr(model.config, BASE_KEY, None)
    check_base(model, stored, getattr(model.config, "_name_or_path", "") or "checkpoint")


def settle_exits(config: PreTrainedConfig, setting: MultiExitConfiguration, exits_follow: bool) -> None:
    """Write the exits to be created into the model's configuration: those of the setting, else those stored there.

    Args:
        exits_follow: whether exits stored alone are loaded afterwards.

    Raises:
        InputError: the setting's mode contradicts the exits of the checkpoint, or config.json describes them wrongly.
    """
    stored_layers = getattr(config, "lm_head_layer_indices", None)
    stored_mode = getattr(config, "vocab_projection_mode", None)
    _check_stored(stored_layers, stored_mode, getattr(config, BASE_KEY, None))
    if exits_follow:
        stored_layers = stored_mode = None
        config.lm_head_layer_indices = None
        setattr(config, heads.TRANSLATORS_KEY, False)
    mode = setting.vocab_projection_mode
    direct = mode is VocabularyProjectionMode.SHARED_PROJECTION_DIRECT  # fits any checkpoint
    if stored_mode is not None and setting.mode_is_given and stored_mode != mode.name and not direct:
        if setting.lm_head_layer_indices is None:
            raise InputError(
                f"vocab_projection_mode={mode.name}: the checkpoint's exits are {stored_mode}; leave the mode out to "
                "use them, or name lm_head_layer_indices to create new ones"
            )
    config.vocab_projection_mode = mode.name if setting.mode_is_given or stored_mode is None else stored_mode
    layers = setting.lm_head_layer_indices or stored_layers
    if layers and not exits_follow:
        config.lm_head_layer_indices = sorted(layer for layer in layers if layer != ORIGINAL)


def _check_stored(layers: Any, mode: Any, base: Any) -> None:
    if not isinstance(base, dict | None):
        raise InputError(f"config.json: {BASE_KEY} is {base!r}, but must be a mapping")
    modes = VocabularyProjectionMode.__members__
    if mode is not None and mode not in modes:
        raise InputError(f"config.json: vocab_projection_mode is {mode!r}, but must be one of {', '.join(modes)}")
    whole = isinstance(layers, list | tuple) and all(type(layer) is int or layer == ORIGINAL for layer in layers)
    if layers is not None and not whole:
        raise InputError(f"config.json: lm_head_layer_indices is {layers!r}, but must be a list of layers")


def write_exits(model: PreTrainedModel, folder: str | os.PathLike) -> None:
    """Store the exits alone, in the form that the top of this module describes.

    Raises:
        InputError: there are none, or they are quantised, offloaded or sharded.
    """
    if not model.exit_layers:
        raise InputError(f"{type(model).__name__} has no exits to store; give it some (lm_head_layer_indices)")
    folder = Path(folder)
    for name, parameter in heads.exit_state(model).items():
        if type(parameter.data) is not Tensor or not parameter.is_floating_point() or parameter.is_meta:
            kind = f"{type(parameter.data).__name__}, {parameter.dtype}, {parameter.device}"
            raise InputError(
                f"{name} is quantised, offloaded or sharded ({kind}) and can't be stored alone; load the exits "
                "whole, without quantization_config, on a device"
            )
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: p.detach().to("cpu").contiguous() for name, p in heads.exit_state(model).items()}
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
    description = {
        "vocab_projection_mode": model.projection_mode.name,
        "lm_head_layer_indices": list(model.exit_layers),
        "base": base_identity(model),
        **({"translators": True} if hasattr(model, heads.TRANSLATORS) else {}),
    }
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=2, sort_keys=True) + "\n")


def read_exits(source: str | os.PathLike) -> StoredExits:
    """Read exits stored alone, from a folder or a name on the hub; or a tuned lens, from a folder.

    Raises:
        FileError: a file is missing or damaged.
    """
    if tuned_lens.is_tuned_lens(Path(source)):
        layers, state, base = tuned_lens.read_tuned_lens(Path(source))
        return StoredExits(VocabularyProjectionMode.SHARED_PROJECTION_CAST_OUTPUTS, layers, base, state, True)
    try:
        description = json.loads(Path(_file(source, DESCRIPTION)).read_text())
        mode = VocabularyProjectionMode[description["vocab_projection_mode"]]
        layers, base = description["lm_head_layer_indices"], description.get("base")
        if not isinstance(layers, list) or not all(type(layer) is int for layer in layers):
            raise ValueError(f"lm_head_layer_indices is {layers!r}, but must be a list of layers")
        if len(set(layers)) < len(layers):
            raise ValueError(f"lm_head_layer_indices is {layers!r}, but must name each layer once")
        if not isinstance(base, dict | None):
            raise ValueError(f"base is {base!r}, but must be a mapping")
        state = load_file(_file(source, WEIGHTS))
    except (ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
        raise FileError(
            f"{source}: no readable exits ({type(error).__name__}: {error}); train or fetch them again"
        ) from None
    return StoredExits(mode, tuple(layers), base, state, bool(description.get("translators")))


def _file(source: str | os.PathLike, name: str) -> str:
    if Path(source).is_dir():
        path = Path(source) / name
        if not path.is_file():
            raise FileError(f"{source}: no file {name}; exits stored alone need {WEIGHTS} and {DESCRIPTION}")
        return str(path)
    try:
        return cached_file(str(source), name)
    except OSError as error:
        raise FileError(
            f"exits {source}: no folder of that name, and not on the hub ({' '.join(str(error).split())[:200]}); exits "
            f"stored alone are a folder with {WEIGHTS} and {DESCRIPTION}, as save_exits writes them"
        ) from None


def install_exits(model: PreTrainedModel, exits: StoredExits, source: str) -> None:
    """Replace the model's exits with stored ones, or with the translators of a tuned lens.

    Raises:
        WrongBaseError: they were trained for another base.
        FileError: parameters are missing, of another shape, or not finite.
    """
    check_base(model, exits.base, source)
    if exits.base and tuned_lens.HASH in exits.base:
        tuned_lens.check_model(model, exits.base[tuned_lens.HASH], source)
    config = model.config
    keys = ("vocab_projection_mode", "lm_head_layer_indices", heads.TRANSLATORS_KEY)
    before = {key: getattr(config, key, None) for key in keys}
    modules = {name: getattr(model, name) for name in heads.GROUPS if hasattr(model, name)}
    try:
        after = (exits.mode.name, sorted(exits.layers), exits.translators)
        for key, value in zip(keys, after, strict=True):
            setattr(config, key, value)
        model.create_exits()
        for name, parameter in heads.exit_state(model).items():
            parameter.data.copy_(_checked(exits.state.get(name), name, parameter, source))
    except (OSError, ValueError):  # the model keeps the exits that it had
        for key, value in before.items():
            setattr(config, key, value)
        for name in heads.GROUPS:
            if hasattr(model, name):
                delattr(model, name)
        for name, module in modules.items():
            setattr(model, name, module)
        raise


def _checked(found: Tensor | None, name: str, parameter: Tensor, source: str) -> Tensor:
    if found is None or found.shape != parameter.shape:
        got = "nothing" if found is None else tuple(found.shape)
        raise FileError(f"{source}: {name} must have shape {tuple(parameter.shape)}, got {got}; is the file complete?")
    if not found.isfinite().all():
        raise FileError(f"{source}: {name} holds NaN or infinity; train these exits again")
    return found
