"""How layers and exits are named and counted; needs neither torch nor transformers."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from autocontrastive_gen.foundation.errors import InputError, mendable
from autocontrastive_gen.foundation.files import read_json

ORIGINAL = "original"
"""Names the model's own head among the exits."""
Exit = int | str
"""A layer number, or ``ORIGINAL``."""

DEPTH_KEYS = ("num_decoder_layers", "num_hidden_layers", "n_layer", "num_layers", "n_layers")
"""What the families of transformers call the number of blocks; an encoder-decoder's decoder comes first."""


def depth_of(config: Any) -> int:
    """Number of blocks N of the (text) decoder; layer N is the last.

    Args:
        config: a configuration of transformers, or the content of its config.json.

    Raises:
        InputError: the content of a config.json names no number of blocks.
    """
    if not isinstance(config, Mapping):
        if getattr(config, "num_decoder_layers", None) is not None:
            return config.num_decoder_layers
        return config.get_text_config(decoder=True).num_hidden_layers
    for content in (config.get("text_config") or {}, config):
        for key in DEPTH_KEYS:
            if content.get(key) is not None:
                return int(content[key])
    raise InputError(f"config.json: the number of layers is missing; it is one of {', '.join(DEPTH_KEYS)}")


def late_layer(layers: Iterable[int], depth: int) -> int | None:
    """The layer nearest to five sixths of the depth, where loops of small models begin; None if there is none.

    >>> late_layer((10, 20, 25, 30), depth=30)
    25
    """
    return min(layers, key=lambda layer: (abs(layer - depth * 5 / 6), layer), default=None)


def read_depth(folder: Path) -> int:
    """Number of blocks of the model in a local folder, from its config.json.

    Raises:
        InputError: the file names no number of blocks.
        FileError: it is not readable.
    """
    with mendable(f"{folder}"):
        return depth_of(read_json(folder / "config.json"))
