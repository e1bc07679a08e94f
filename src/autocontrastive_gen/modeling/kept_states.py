"""States of a trunk on disk, for every process that reads the same texts with the same model."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from autocontrastive_gen.foundation.digests import fingerprint
from autocontrastive_gen.foundation.resume import Kept
from autocontrastive_gen.modeling.exit_states import ExitStates

SHARE_OF_DISK = 0.5
"""The states may fill this much of the space that was free; passes beyond it are not kept."""


class KeptStates:
    """A mapping from passes to their states, a file for each.

    Args:
        folder: of the files.
        model: the multi-exit model whose states they are.
    """

    def __init__(self, folder: Path, model: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._files, self._model = Kept(folder), model
        self._room = SHARE_OF_DISK * shutil.disk_usage(folder).free

    def get(self, key: tuple) -> ExitStates | None:
        """The states of a pass, if they are kept."""
        path = self._files.find(_name(key))
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
            with self._files.write(_name(key)) as temporary:
                save_file(named, temporary)


def _name(key: tuple) -> str:
    return f"{fingerprint(list(map(list, key)))[:24]}.safetensors"
