"""What is wrong with the inputs of a model, found once it has failed on them: a good call pays nothing for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import Cache

from autocontrastive_gen.foundation.errors import InputError, is_out_of_memory


@contextmanager
def explained(model: Any, inputs: Mapping[str, Any]) -> Iterator[None]:
    """Within it, a failure of ``model`` that its inputs cause ends in a message about them.

    Args:
        inputs: arguments of ``forward`` or ``generate`` by their names.

    Raises:
        InputError: names the argument, what is allowed, and the remedy.
    """
    try:
        yield
    except (IndexError, RuntimeError, AttributeError) as error:
        if is_out_of_memory(error):
            raise
        for fault in _faults(model, inputs):
            raise InputError(fault) from error
        raise


def _faults(model: Any, inputs: Mapping[str, Any]) -> Iterator[str]:
    vocabulary = model.get_input_embeddings().num_embeddings
    for name in ("input_ids", "inputs", "decoder_input_ids"):
        if (ids := inputs.get(name)) is not None:
            yield from _ids_faults("input_ids" if name == "inputs" else name, ids, vocabulary)
    embeddings, width = inputs.get("inputs_embeds"), model.get_input_embeddings().embedding_dim
    if isinstance(embeddings, Tensor) and embeddings.shape[-1] != width:
        yield f"inputs_embeds: the model's embeddings have width {width}, got shape {tuple(embeddings.shape)}"
    labels = inputs.get("labels")
    if isinstance(labels, Tensor) and labels.numel() and int(labels.max()) >= vocabulary:
        yield f"labels: {int(labels.max())} is beyond the model's vocabulary, which ends at {vocabulary - 1}"
    window = getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None)
    if window is not None and (needed := _positions(model, inputs)) > window:
        yield (
            f"input_ids: {needed} tokens, new ones included, are more than the model's {window} positions; shorten the "
            "prompt or lower max_new_tokens"
        )


def _positions(model: Any, inputs: Mapping[str, Any]) -> int:
    """Tokens that a call has to do with: cached, given and new ones."""
    given = next((inputs[name] for name in ("input_ids", "inputs") if inputs.get(name) is not None), None)
    if given is None:
        return 0
    cache, config = inputs.get("past_key_values"), inputs.get("generation_config") or model.generation_config
    new = inputs.get("max_new_tokens", getattr(config, "max_new_tokens", None)) if "inputs" in inputs else None
    cached = cache.get_seq_length() if isinstance(cache, Cache) else 0
    return cached + given.shape[1] + (new or 0)


def _ids_faults(name: str, ids: Any, vocabulary: int) -> Iterator[str]:
    encode = 'encode text with the model\'s tokenizer: tokenizer(texts, return_tensors="pt")'
    if not isinstance(ids, Tensor):
        yield f"{name}: give a tensor of token ids, got a {type(ids).__name__}; {encode}"
    elif ids.dim() != 2:
        yield f"{name}: token ids have two dimensions, prompts and positions, got shape {tuple(ids.shape)}"
    elif ids.dtype not in (torch.int64, torch.int32):
        yield f"{name}: token ids are whole numbers (int64), got {ids.dtype}; {encode}"
    elif not ids.numel():
        yield f"{name}: there is no token, shape {tuple(ids.shape)}; give at least one prompt of at least one token"
    elif int(ids.min()) < 0 or int(ids.max()) >= vocabulary:
        wrong = int(ids.min()) if int(ids.min()) < 0 else int(ids.max())
        yield f"{name}: {wrong} is not in the model's vocabulary, 0 to {vocabulary - 1}; take the model's own tokenizer"
