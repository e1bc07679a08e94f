"""The sizes of a model that decide its cost, from its configuration alone: no weights are loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from autocontrastive_gen.experiment.asset_schema import HubAsset, PathAsset, PypiAsset
from autocontrastive_gen.experiment.params import Params
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation.errors import InputError

SIZES = Path("conf/sizes.yaml")


@dataclass(frozen=True)
class Shape:
    """Sizes of a model."""

    layers: int
    width: int
    vocabulary: int
    """Rows of the output matrix; 0 for an encoder."""
    block: int
    """Weights of one block that are multiplied with every token."""
    kv_width: int
    """Numbers per token in the keys of one layer; its values take as many."""
    attention_width: int
    """Heads x size of a head."""
    parameters: int

    def trunk(self, context: float, layers: int | None = None) -> float:
        """Operations for one token that attends to ``context`` positions, through the first ``layers`` blocks."""
        return (self.layers if layers is None else layers) * (2 * self.block + 4 * context * self.attention_width)

    @property
    def head(self) -> int:
        """Operations of the output matrix for one position."""
        return 2 * self.width * self.vocabulary


def of_config(config: Any, encoder: bool = False) -> Shape:
    """Shape of a transformers configuration, counted on a model that is built on the "meta" device."""
    import torch
    from transformers import AutoModel, AutoModelForCausalLM

    with torch.device("meta"):
        model = (AutoModel if encoder else AutoModelForCausalLM).from_config(config)
    text = config.get_text_config()
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, torch.nn.Embedding)}
    head = None if encoder else model.get_output_embeddings().weight
    skipped = embeddings | {id(head)}
    matrices = sum(p.numel() for p in model.parameters() if p.ndim >= 2 and id(p) not in skipped)
    heads, width = text.num_attention_heads, text.hidden_size
    size = getattr(text, "head_dim", None) or width // heads
    return Shape(
        layers=text.num_hidden_layers,
        width=width,
        vocabulary=0 if encoder else head.shape[0],
        block=matrices // text.num_hidden_layers,
        kv_width=(getattr(text, "num_key_value_heads", None) or heads) * size,
        attention_width=heads * size,
        parameters=sum(p.numel() for p in model.parameters()),
    )


def of_asset(params: Params, name: str, encoder: bool = False) -> Shape:
    """Shape of an asset: from its config.json if that is here, else from conf/sizes.yaml, else from the hub.

    Raises:
        InputError: none of them has it; the message says what to add.
    """
    from transformers import AutoConfig

    asset = params.assets[name]
    folders = [Paths(params.profile).asset(name)]
    if isinstance(asset, PathAsset):
        folders.append(Path(asset.path).expanduser())
    for folder in folders:
        if (folder / "config.json").is_file():
            return of_config(AutoConfig.from_pretrained(folder, local_files_only=True), encoder)
    origin = asset.repo if isinstance(asset, HubAsset) else asset.package if isinstance(asset, PypiAsset) else name
    stated = read_sizes()["models"].get(origin)
    if stated:
        return of_config(AutoConfig.for_model(**stated), encoder)
    try:
        if isinstance(asset, HubAsset):
            return of_config(AutoConfig.from_pretrained(asset.repo, revision=asset.revision), encoder)
    except OSError:
        pass
    raise InputError(
        f"assets.{name}: no config.json of {origin} is here; run `dvc repro fetch` first, or state its sizes under "
        f"`models` in {SIZES}"
    )


def read_sizes() -> dict[str, dict]:
    """The content of conf/sizes.yaml: "models" and "tasks"."""
    return yaml.safe_load(SIZES.read_text(encoding="utf-8"))


def task_size(task: str) -> dict[str, int]:
    """How large a task is: its "items", the "requests" per item and the "tokens" per request."""
    sizes = read_sizes()["tasks"]
    return sizes.get(task, sizes["other"])
