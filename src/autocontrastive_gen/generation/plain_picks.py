"""Which tokens of a growing text the last layer alone would not have given."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessorList, NoRepeatNGramLogitsProcessor, RepetitionPenaltyLogitsProcessor

from autocontrastive_gen.generation.cache import growing_cache
from autocontrastive_gen.generation.decoder import Decoder
from autocontrastive_gen.modeling.layers import ORIGINAL


class PlainPicks:
    """What a decoder would pick from the original head at each position of a text, given the same tokens before it.

    A sampler draws with the noise that it used for the text, so a difference is due to the exit or the contrast alone.
    A search (beam search, contrastive search) picks no token by itself: there, the most likely token of the setting is
    compared with that of the original head, as in ``annotate``.

    Args:
        model: a multi-exit model under the setting that writes the text.
        prompt: tokens of the prompt.
        decoder: what writes the text, with ``prompt_id`` and ``seed`` as given to ``stream_tokens``.
    """

    def __init__(self, model, prompt: Sequence[int], decoder: Decoder, seed: int, prompt_id: str = "") -> None:
        self._model = copy.copy(model)
        self._searches = decoder.tokens_per_step > 1
        self._text, self._start = list(prompt), len(prompt)
        self._seen = 0
        """Tokens of the text whose states are known."""
        self._cache = growing_cache(model)
        active = model.active_exits
        self._exits = tuple(dict.fromkeys((ORIGINAL, *(active.exits if self._searches else ()))))
        self._processors = LogitsProcessorList(
            [] if self._searches else [*_penalties(decoder), *decoder.processors([prompt_id], seed)]
        )
        ends = model.generation_config.eos_token_id
        self._suppressed = [] if ends is None else [ends] if isinstance(ends, int) else list(ends)

    @torch.inference_mode()
    def extend(self, tokens: Sequence[int]) -> list[tuple[int, int]]:
        """(position, the token that it would have been) where further tokens of the continuation differ.

        Positions count from the first token of the continuation.
        """
        first = len(self._text) - self._start
        self._text += tokens
        ids = torch.tensor([self._text[self._seen : -1]], device=self._model.device)
        states = self._model.exit_states(ids, layers=self._exits, past_key_values=self._cache, use_cache=True)
        self._seen = len(self._text) - 1
        states = states.map(lambda state: state[0, -len(tokens) :])
        plain = self._model.project_exit(states[self._model.num_layers], ORIGINAL).float()
        plain[:, self._suppressed] = -torch.inf
        own = tokens
        if self._searches:
            scores = self._model.combined(states).float()
            scores[:, self._suppressed] = -torch.inf
            own = scores.argmax(-1).tolist()
        picks = [self._pick(plain[i], first + i) for i in range(len(tokens))]
        return [(first + i, pick) for i, (pick, token) in enumerate(zip(picks, own, strict=True)) if pick != token]

    def _pick(self, logits: Tensor, position: int) -> int:
        before = torch.tensor([self._text[: self._start + position]], device=logits.device)
        return int(self._processors(before, logits[None].clone())[0].argmax())


def _penalties(decoder: Decoder) -> list:
    """The processors that transformers' ``generate`` makes of the parameters that every decoder has."""
    found = []
    if decoder.repetition_penalty != 1:
        found.append(RepetitionPenaltyLogitsProcessor(decoder.repetition_penalty))
    if decoder.no_repeat_ngram_size:
        found.append(NoRepeatNGramLogitsProcessor(decoder.no_repeat_ngram_size))
    return found
