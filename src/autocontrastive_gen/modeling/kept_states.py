"""States of a trunk on disk, for every process that reads the same texts with the same model."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from autocontrastive_gen.foundation.digests import fingerprint
from autocontrastive_gen.foundation.resume import Kept
from autocontrastive_gen.modeling.exit_states import ExitStates

SHARE_OF_DISK = 0.5
"""The states may fill this much of the space that was free; passes beyond it are not kept."""
SAMPLE = 64
"""Numbers of each weight by which models are told apart."""


class KeptStates:
    """A mapping from passes to their states, a file for each.

    Args:
        folder: of the files; those of models with another trunk are left alone.
        model: the multi-exit model whose states they are.
    """

    def __init__(self, folder: Path, model: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._files, self._model = Kept(folder), model
        self._room, self._trunk = SHARE_OF_DISK * shutil.disk_usage(folder).free, _sampled(model)

    def get(self, key: tuple) -> ExitStates | None:
        """The states of a pass, if they are kept."""
        path = self._files.find(self._name(key))
        if path is None:
            return None
        try:
            named = load_file(path, device=str(self._model.device))
        except FileNotFoundError:  # a process with another trunk has removed it
            return None
        return ExitStates.from_named(named, self._model.normed)

    def __setitem__(self, key: tuple, states: ExitStates) -> None:
        named = {name: state.contiguous() for name, state in states.named.items()}
        self._room -= sum(state.nbytes for state in named.values())
        if self._room >= 0:
            with self._files.write(self._name(key)) as temporary:
                save_file(named, temporary)

    def _name(self, key: tuple) -> str:
        return f"{fingerprint([self._trunk, *map(list, key)])[:24]}.safetensors"


def recalled(kept: Any, key: tuple, layers: set[int], compute: Callable[[], ExitStates]) -> ExitStates:
    """The states of a pass from a mapping such as ``KeptStates``, or computed and kept where a layer is missing."""
    states = kept.get(key)
    if states is None or not layers <= {*states}:
        states = kept[key] = compute()
    return states


def _sampled(model: Any) -> str:
    """Digest of numbers from every weight of a model's trunk."""
    weights = ((name, weight.detach().flatten()) for name, weight in model.base_model.named_parameters())
    return fingerprint(
        [(name, str(x.dtype), len(x), x[:: max(1, len(x) // SAMPLE)].float().tolist()) for name, x in weights]
    )
