"""The model of a cell: the base model, exits if the setting needs them, and the setting itself."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation.errors import MissingFileError
from autocontrastive_gen.foundation.files import read_json
from autocontrastive_gen.pipeline.entries import spec_of
from autocontrastive_gen.pipeline.precision import speed_up, state_type


def exit_fields(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of ``MultiExitConfiguration`` for a resolved setting (``Paths.resolved``)."""
    upper = resolved["upper"]
    if resolved["contrast"] is not None:
        layers, spec = (upper, resolved["lower"]), spec_of(resolved["contrast"])
        return {"use_original_head": False, "contrast_layer_indices": layers, "contrast_function": spec}
    if upper == "original":
        return {"use_original_head": True}
    return {"use_original_head": False, "output_layer_index": upper}


def read_resolved(paths: Paths, name: str, setting: str) -> dict[str, Any]:
    """The layers and the contrast of a setting, as ``select`` resolved them.

    Raises:
        MissingFileError: ``select`` has not run.
    """
    path = paths.resolved(name, setting)
    if not path.exists():
        raise MissingFileError(
            f"{path}: the setting {setting!r} is not resolved yet; run `dvc repro select@{name}` first"
        )
    return read_json(path)


def load_cell_model(paths: Paths, name: str, runtime: Mapping[str, Any], fields: Mapping[str, Any]):
    """The model of a cell, configured by ``fields``, and its tokenizer; exits are read only if the setting uses one.

    Args:
        name: key of the model in params.
        runtime: "asset" and "dtype" from the entry of the plan.
    """
    exits = None if fields["use_original_head"] else paths.exits(name)
    return load_model(paths.asset(runtime["asset"]), exits, runtime["dtype"], fields, local_files_only=True)


def load_with_exits(paths: Paths, name: str, runtime: Mapping[str, Any]):
    """The model of a cell with all its exits, read at its original head, and its tokenizer.

    Args:
        name, runtime: as for ``load_cell_model``.
    """
    base, fields = paths.asset(runtime["asset"]), {"use_original_head": True}
    return load_model(base, paths.exits(name), runtime["dtype"], fields, local_files_only=True)


def load_model(
    base: Path | str, exits: Path | None, dtype: str, fields: Mapping[str, Any], local_files_only: bool = False
):
    """A model with its exits, configured by ``fields``, on the device of this process, and its tokenizer.

    Args:
        base: folder or hub name of the base model.
        exits: folder of the exits.
        dtype: ``models.<model>.dtype``.
        fields: of ``MultiExitConfiguration``.
    """
    from transformers.utils import logging as transformers_logging

    from autocontrastive_gen.foundation.processes import Processes
    from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
    from autocontrastive_gen.modeling.configuration import MultiExitConfiguration
    from autocontrastive_gen.modeling.tokenizer import load_tokenizer

    if not sys.stderr.isatty():
        transformers_logging.disable_progress_bar()
    tokenizer = load_tokenizer(base, local_files_only)
    model = AutoMultiExitModel.from_pretrained(
        base,
        multi_exit_config=MultiExitConfiguration(**fields),
        exits=exits,
        dtype=state_type(dtype),
        local_files_only=local_files_only,
    )
    model = model.to(Processes.start().device).eval()
    speed_up(model, dtype)
    return model, tokenizer
