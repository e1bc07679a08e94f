"""A cache of keys and values with room to grow: no step copies what is already there."""

from __future__ import annotations

from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import Cache, DynamicLayer

ROOM = 32
"""Tokens to make room for when a buffer is full; beams that share nothing copy the room as well at every step."""


class GrowingLayer(DynamicLayer):
    """transformers' growing layer, which concatenates at every step, in a buffer with room for later tokens.

    ``keys`` and ``values`` (B, heads, T, size) are the filled parts of their buffers.
    """

    keys: Tensor
    values: Tensor
    shared = 0
    """First tokens that are the same in all rows which may take each other's place, as the prompt is in all beams."""
    _buffers: tuple[Tensor, Tensor] | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *args, **kwargs) -> tuple[Tensor, Tensor]:
        """Append (B, heads, t, size) and return keys and values of all tokens."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        if self._buffers is None or not self._is_filled_part() or end > self._buffers[0].shape[-2]:
            self._buffers = (self._grown(self.keys, key_states, end), self._grown(self.values, value_states, end))
        keys, values = self._buffers
        keys[..., start:end, :] = key_states
        values[..., start:end, :] = value_states
        self.keys, self.values = keys[..., :end, :], values[..., :end, :]
        return self.keys, self.values

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Choose rows (B,) for the next step of a beam search; copies what is not shared."""
        if self._buffers is None or not self._is_filled_part():
            return super().reorder_cache(beam_idx)
        if self.shared and len(beam_idx) == len(self.keys):
            for filled in (self.keys, self.values):
                tail = filled[..., self.shared :, :]
                tail.copy_(tail.index_select(0, beam_idx.to(tail.device)))
            return None
        end = self.get_seq_length()
        keys, values = (buffer.index_select(0, beam_idx.to(buffer.device)) for buffer in self._buffers)
        self._buffers, self.keys, self.values = (keys, values), keys[..., :end, :], values[..., :end, :]
        return None

    def reset(self) -> None:
        """Empty the layer."""
        self._buffers, self.shared = None, 0
        super().reset()

    def _is_filled_part(self) -> bool:
        """Whether keys and values still lie in the buffers: choosing rows, as beams do, makes new tensors."""
        pairs = zip((self.keys, self.values), self._buffers or (), strict=True)
        return all(x.data_ptr() == buffer.data_ptr() and len(x) == len(buffer) for x, buffer in pairs)

    @staticmethod
    def _grown(filled: Tensor, new: Tensor, end: int) -> Tensor:
        buffer = new.new_empty(*new.shape[:-2], end + ROOM, new.shape[-1])
        if filled.numel():
            buffer[..., : filled.shape[-2], :] = filled
        return buffer


def growing_cache(model: PreTrainedModel | None = None) -> Cache:
    """An empty cache with ``GrowingLayer`` in place of the layers that concatenate.

    Args:
        model: one that takes transformers' dynamic cache; its layers of other kinds, such as sliding windows, stay
            transformers' own. Without a model, every layer keeps every token.

    >>> from transformers import AutoModelForCausalLM, AutoTokenizer
    >>> model = AutoModelForCausalLM.from_pretrained("gpt2")
    >>> prompt = AutoTokenizer.from_pretrained("gpt2")("humpty dumpty sat", return_tensors="pt")
    >>> tokens = model.generate(**prompt, max_new_tokens=4, past_key_values=growing_cache(model))
    """
    if model is None:
        return Cache(layer_class_to_replicate=GrowingLayer)
    cache = DynamicCache(config=model.config)
    if cache.layer_class_to_replicate is DynamicLayer:
        cache.layer_class_to_replicate = GrowingLayer
    cache.layers = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache
