"""Documents packed into blocks of equal length, the form in which language models are trained on text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from autocontrastive_gen.foundation.errors import InputError

DOCUMENTS_AT_ONCE = 256
"""Documents tokenized together: enough to keep a fast tokenizer busy, few enough that memory stays flat."""


def pack(documents: Iterable[str], tokenizer: Any, block_size: int) -> Iterator[np.ndarray]:
    """Blocks of ``block_size`` token ids, int64 (block_size,), in the order of the documents.

    Each document is followed by the tokenizer's EOS token, and blocks run across the ends of documents, as in the
    paper's training. Tokens that do not fill a last block are dropped. Memory does not grow with the number of
    documents.

    Raises:
        InputError: ``block_size`` is less than 1, or the tokenizer has no EOS token.
    """
    if block_size < 1:
        raise InputError(f"block_size: {block_size} must be at least 1")
    if tokenizer.eos_token_id is None:
        raise InputError(f"{tokenizer.name_or_path}: the tokenizer has no EOS token to put between documents")
    rest = np.empty(0, dtype=np.int64)
    for tokens in _tokenized(documents, tokenizer):
        rest = np.concatenate([rest, *tokens])
        whole = len(rest) - len(rest) % block_size
        yield from rest[:whole].reshape(-1, block_size)
        rest = rest[whole:]


def _tokenized(documents: Iterable[str], tokenizer: Any) -> Iterator[list[np.ndarray]]:
    documents = iter(documents)
    while batch := list(islice(documents, DOCUMENTS_AT_ONCE)):
        encoded = tokenizer(batch, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]
        yield [np.asarray([*ids, tokenizer.eos_token_id], dtype=np.int64) for ids in encoded]
