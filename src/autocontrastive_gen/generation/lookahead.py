"""Several candidates for the next token in one pass, over one copy of the cache.

The candidates stand side by side after their text, all at the position of the next token. An attention mask lets each
of them see the text and itself, but no other candidate. When one is chosen, its keys and values stay in the cache and
the others' are dropped.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor
from transformers import PreTrainedModel

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.generation.cache import growing_cache
from autocontrastive_gen.modeling.packed import rounding

WINDOWS = ("sliding_window", "window_size", "attention_chunk_size")
"""Names that configurations give to the number of tokens that a layer of local attention sees."""

_proved: WeakSet = WeakSet()
"""Decoder modules of the models that passed the trial of ``require_lookahead``."""


class Lookahead:
    """A batch of texts, and the states and logits of candidates for their next tokens.

    Args:
        model: a decoder-only model of transformers, multi-exit or plain.
        input_ids: (B, T), padded on the left.
        attention_mask: (B, T), 0 at padding.

    States are those of the highest layer that runs (the last, or the upper exit's), after the model's final norm and
    before any cast. Logits are what the model returns: an exit's logits, or the log-probabilities of a contrast.
    """

    def __init__(self, model: PreTrainedModel, input_ids: Tensor, attention_mask: Tensor) -> None:
        self._model, self._cache, self._taken = model, growing_cache(), inspect.signature(model.forward).parameters
        self.mask = attention_mask
        """(B, T): 0 at padding; T grows by one with every token that is kept."""
        positions = (attention_mask.cumsum(-1) - 1).clamp(min=0)
        logits, self.states = self._run(input_ids, attention_mask, positions, logits_to_keep=1)
        """(B, T, d): states of the texts; T grows likewise."""
        self.logits = logits[:, -1]
        """(B, V): logits of the token that follows each text."""

    def look(self, candidates: Tensor) -> Tensor:
        """States (B, k, d) of candidates (B, k), each as if it alone followed its text."""
        k, dtype = candidates.shape[1], self._model.dtype
        before = self.mask.bool()[:, None].expand(-1, k, -1)  # (B, k, T)
        itself = torch.eye(k, dtype=torch.bool, device=before.device).expand(len(before), -1, -1)
        hidden = ~torch.cat([before, itself], dim=-1)[:, None]  # (B, 1, k, T + k)
        mask = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device)
        mask.masked_fill_(hidden, torch.finfo(dtype).min)
        positions = self.mask.sum(-1, keepdim=True).expand(-1, k)
        self._ahead = self._run(candidates, mask, positions)
        return self._ahead[1]

    def keep(self, chosen: Tensor) -> None:
        """Append to each text the candidate of the last ``look`` whose index, 0 to k - 1, is in ``chosen`` (B,)."""
        logits, states = self._ahead
        rows, end, count = torch.arange(len(chosen), device=chosen.device), self.mask.shape[1], states.shape[1]
        for layer in self._cache.layers:
            if layer.is_initialized:
                for kept in (layer.keys, layer.values):  # (B, heads, T + k, head size)
                    kept[:, :, end] = kept[rows, :, end + chosen]
                layer.crop(1 - count)
        self.logits = logits[rows, chosen]
        self.states = torch.cat([self.states, states[rows, chosen, None]], dim=1)
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(rows), 1)], dim=1)

    def _run(self, ids: Tensor, mask: Tensor, positions: Tensor, **more: Any) -> tuple[Tensor, Tensor]:
        """Logits and states of ``ids`` after what the cache holds."""
        inputs = {"position_ids": positions, **more}
        with _final_states(self._model) as found:
            output = self._model(
                input_ids=ids,
                attention_mask=mask,
                past_key_values=self._cache,
                use_cache=True,
                return_dict=True,
                **{name: value for name, value in inputs.items() if name in self._taken},
            )
        return output.logits, found[-1]


@contextmanager
def _final_states(model: PreTrainedModel) -> Iterator[list[Tensor]]:
    """Collects the states (B, T, d) that the model's decoder module, below the output matrix, returns in each pass."""
    found: list[Tensor] = []
    hook = model.get_decoder().register_forward_hook(lambda decoder, inputs, output: found.append(output[0]))
    try:
        yield found
    finally:
        hook.remove()


def require_lookahead(model: PreTrainedModel, length: int) -> None:
    """Check that each of several candidates in one pass gets the state that it would get alone.

    No family is known by name: a model is tried once, on a few tokens.

    Args:
        length: tokens of the longest text, including the candidates.

    Raises:
        InputError: the model fails the trial, or one of its layers sees fewer tokens than ``length``.
    """
    config = model.config.get_text_config()
    sizes = {name: size for name in WINDOWS if isinstance(size := getattr(config, name, None), int)}
    for name, size in sizes.items():
        if length > size:
            raise InputError(
                f"contrastive search needs every layer to see the whole text: {length} tokens of prompt, continuation "
                f"and candidates are more than the model's {name}={size}; use shorter texts or another decoder"
            )
    if model.get_decoder() in _proved:
        return
    try:
        same = _same_as_alone(model)
    except Exception as error:  # whatever a model raises, the user must learn what was tried
        raise InputError(f"{_refusal(model)} ({type(error).__name__}: {error})") from error
    if not same:
        raise InputError(_refusal(model))
    _proved.add(model.get_decoder())


def _refusal(model: PreTrainedModel) -> str:
    return (
        f"{type(model).__name__} can't be used with contrastive search: with attention "
        f"{model.config._attn_implementation!r} it does not take several tokens at one position; load it with "
        "attn_implementation='sdpa', or use another decoder"
    )


@torch.no_grad()
def _same_as_alone(model: PreTrainedModel) -> bool:
    """Whether two steps give the states of whole passes without a cache, also in a padded row."""
    size, device = model.get_input_embeddings().weight.shape[0], model.device
    texts = (torch.arange(8, device=device).view(2, 4) + size // 2) % size
    mask = torch.tensor([[1, 1, 1, 1], [0, 1, 1, 1]], device=device)
    tokens = (torch.arange(6, device=device) + size // 3) % size
    steps = [(tokens[:4].view(2, 2), torch.tensor([1, 0], device=device)), (tokens[2:].view(2, 2), None)]
    ahead = Lookahead(model, texts, mask)
    for candidates, chosen in steps:
        found = ahead.look(candidates)
        expected = [
            _last_state(model, torch.cat([text[seen.bool()], candidate[None]]))
            for text, seen, row in zip(texts, mask, candidates, strict=True)
            for candidate in row
        ]
        if not _close(found.flatten(0, 1), torch.stack(expected), rounding(model)):
            return False
        if chosen is not None:
            ahead.keep(chosen)
            texts = torch.cat([texts, candidates.gather(1, chosen[:, None])], dim=1)
            mask = torch.cat([mask, mask.new_ones(2, 1)], dim=1)
    return True


def _last_state(model: PreTrainedModel, ids: Tensor) -> Tensor:
    """State (d,) of the last of the tokens (T,)."""
    with _final_states(model) as found:
        model(input_ids=ids[None], use_cache=False)
    return found[-1][0, -1]


def _close(found: Tensor, expected: Tensor, eps: float) -> bool:
    """Whether states (rows, d) of a model that rounds by ``eps`` differ by rounding alone.

    A wrong mask moves them by a tenth of their length or more.
    """
    difference = (found - expected).float().norm(dim=-1) / expected.float().norm(dim=-1)
    return bool((difference <= min(0.05, 256 * eps)).all())
