"""The model of a cell: base, exits where the setting needs them, and the setting itself."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation.errors import mendable


def exit_fields(resolved: Mapping[str, Any], contrast: Mapping[str, Any] | None) -> dict[str, Any]:
    """Fields of ``MultiExitConfiguration`` for a resolved setting (``Paths.resolved``)."""
    upper, lower = resolved["upper"], resolved["lower"]
    if lower is not None:
        return {
            "use_original_head": False,
            "contrast_layer_indices": (upper, lower),
            "contrast_function": dict(contrast),
        }
    return (
        {"use_original_head": True}
        if upper == "original"
        else {"use_original_head": False, "output_layer_index": upper}
    )


def load_cell_model(paths: Paths, name: str, runtime: Mapping[str, Any], fields: Mapping[str, Any]):
    """Model and tokenizer of a cell, set by ``fields``; exits are read only if the setting uses one.

    Args:
        name: key of the model in params.
        runtime: "asset" and "dtype" of the plan's entry.
    """
    import torch
    from transformers import AutoTokenizer
    from transformers.utils import logging as transformers_logging

    from autocontrastive_gen.foundation.processes import Processes
    from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
    from autocontrastive_gen.modeling.configuration import MultiExitConfiguration

    if not sys.stderr.isatty():
        transformers_logging.disable_progress_bar()
    asset = paths.asset(runtime["asset"])
    exits = None if fields["use_original_head"] else paths.exits(name)
    with mendable(f"{asset}: no tokenizer can be read there"):
        tokenizer = AutoTokenizer.from_pretrained(asset, local_files_only=True, trust_remote_code=False)
    model = AutoMultiExitModel.from_pretrained(
        asset,
        multi_exit_config=MultiExitConfiguration(**fields),
        exits=exits,
        dtype=getattr(torch, runtime["dtype"]),
        local_files_only=True,
    )
    return model.to(Processes.start().device).eval(), tokenizer
