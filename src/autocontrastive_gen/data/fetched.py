"""Faults of parameters that only the fetched files show: layers, windows, and assets that are of another kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from autocontrastive_gen.experiment.checks import cross_faults
from autocontrastive_gen.experiment.params import Params, ParamsError
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation.errors import UserError, mendable
from autocontrastive_gen.foundation.files import read_json
from autocontrastive_gen.modeling.layers import depth_of

WINDOWS = ("max_position_embeddings", "n_positions")
"""What the families of transformers call the number of positions, where it is limited."""


def check_fetched(params: Params, paths: Paths, origin: str = "params.yaml") -> None:
    """Compare the parameters with what ``fetch`` has brought.

    Raises:
        ParamsError: every fault, with the key of its parameter.
    """
    depths: dict[str, int] = {}
    found = [fault for name in params.run.models for fault in _model_faults(params, name, paths, depths)]
    found += [] if found else cross_faults(params.model_dump(mode="json"), depths)
    found += _encoder_faults(params, paths)
    found += _few_shot_faults(params, paths)
    if found:
        raise ParamsError("\n".join(f"{origin}: {fault}" for fault in found))


def _model_faults(params: Params, name: str, paths: Paths, depths: dict[str, int]) -> Iterator[str]:
    """Faults of one model, whose number of layers is added to ``depths``."""
    model = params.models[name]
    try:
        config = _config(paths.asset(model.asset))
        layers = depths[name] = depth_of(config)
    except UserError as error:
        yield f"models.{name}.asset: {model.asset!r} is not allowed: it is no model of transformers: {error}"
        return
    if max(model.exits) > layers:
        yield f"models.{name}.exits: {model.exits} is not allowed: the model has layers 1 to {layers}"
    room = next((part[key] for part in _parts(config) for key in WINDOWS if isinstance(part.get(key), int)), None)
    for section in ("select", "generate"):
        new, words = getattr(params, section).new_tokens, params.prepare.prompt_words
        if room is not None and words + new > room:
            yield (
                f"{section}.new_tokens: {new} is not allowed: with prepare.prompt_words = {words}, texts are longer "
                f"than the {room} positions of models.{name}"
            )


def _config(folder: Path) -> dict[str, Any]:
    with mendable(f"{folder}"):
        config = read_json(folder / "config.json")
        if not isinstance(config, dict):
            raise ValueError("config.json is not a mapping")
        return config


def _parts(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    text = config.get("text_config")
    return [text, config] if isinstance(text, dict) else [config]


def _encoder_faults(params: Params, paths: Paths) -> Iterator[str]:
    """A sentence encoder is a folder of sentence-transformers, or a model with a pooler, as SimCSE."""
    asset = params.score.coherence_asset
    folder = paths.asset(asset)
    if (folder / "modules.json").exists():
        return
    given = f"score.coherence_asset: {asset!r} is not allowed: it is no sentence encoder"
    try:
        _config(folder)
    except UserError as error:
        yield f"{given}: {error}"
        return

    import torch
    from transformers import AutoConfig, AutoModel

    with mendable(given, (OSError, ValueError, KeyError, TypeError, RuntimeError)), torch.device("meta"):
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model = AutoModel.from_config(config)
    if getattr(model, "pooler", None) is None:
        yield f"{given}: it has neither modules.json, as those of sentence-transformers, nor a pooler, as SimCSE"


def _few_shot_faults(params: Params, paths: Paths) -> Iterator[str]:
    """Tasks of lm-eval with fewer items than the examples that are to precede each item."""
    bundle = paths.task_data / "bundle.json"
    tasks = read_json(bundle)["tasks"] if bundle.exists() else {}
    shots = params.benchmark.num_fewshot
    for name, task in tasks.items():
        most = max((split["rows"] for split in task["splits"].values()), default=0)
        if shots >= most:
            yield f"benchmark.num_fewshot: {shots} is not allowed: the task {name} has {most} items"
