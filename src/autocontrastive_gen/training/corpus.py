"""Training text as blocks of tokens in one file: memory stays flat, and training can resume at any block."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.foundation.files import atomic_path
from autocontrastive_gen.foundation.progress import ProgressBar
from autocontrastive_gen.training.blocks import pack

log = logging.getLogger(__name__)


def write_blocks(path: Path, texts: Iterable[str], tokenizer: Any, block_size: int, tokens: int | None = None) -> None:
    """Write ``texts`` to ``path`` as int32 blocks, one after another; at most ``tokens`` tokens, or all of them."""
    most = None if tokens is None else tokens // block_size
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        blocks = islice(pack(texts, tokenizer, block_size), most)
        for block in ProgressBar(blocks, "tokens", unit=" blocks", total=most):
            file.write(np.ascontiguousarray(block, dtype=np.int32).tobytes())


class TokenBlocks:
    """The blocks of a file that ``write_blocks`` made, read through a memory map."""

    def __init__(self, path: Path, block_size: int) -> None:
        size = path.stat().st_size // (4 * block_size)
        self._tokens = np.memmap(path, np.int32, "r", shape=(size, block_size)) if size else np.empty((0, block_size))

    def __len__(self) -> int:
        return len(self._tokens)

    @property
    def block_size(self) -> int:
        """Tokens per block."""
        return self._tokens.shape[1]

    def __getitem__(self, indices: slice | np.ndarray) -> torch.Tensor:
        """Token ids, int64 (blocks, block_size), of the blocks in a slice or an array of block numbers."""
        return torch.from_numpy(np.asarray(self._tokens[indices], dtype=np.int64))

    def counts(self, vocabulary: int) -> torch.Tensor:
        """How often each token occurs (vocabulary,)."""
        counts = np.zeros(vocabulary, dtype=np.int64)
        for start in range(0, len(self), 4096):
            counts += np.bincount(self._tokens[start : start + 4096].ravel(), minlength=vocabulary)
        return torch.from_numpy(counts)

    def check(self, vocabulary: int, batch_size: int) -> None:
        """Check that the text suits the model and the settings.

        Raises:
            InputError: there is too little text for one batch, or a token is not in the model's vocabulary.
        """
        if len(self) < batch_size:
            raise InputError(
                f"training text: {len(self)} blocks of {self.block_size} tokens are fewer than batch_size = "
                f"{batch_size}; give more text, or lower block_size or batch_size"
            )
        largest = max(int(self._tokens[start : start + 4096].max()) for start in range(0, len(self), 4096))
        check_tokens(largest, vocabulary)


def check_tokens(largest: int, vocabulary: int) -> None:
    """Check that ``largest``, the largest token id of the text, is in the model's vocabulary.

    Raises:
        InputError: it is not.
    """
    if largest >= vocabulary:
        raise InputError(
            f"tokenizer: it makes token {largest}, but the model's vocabulary ends at {vocabulary - 1}; "
            "take the tokenizer that belongs to the model"
        )
