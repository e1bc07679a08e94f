"""Continuations of prompts by any decoder, reproducible whatever the batch.

All continuations of ``generate_texts`` are equally long: the end-of-text token is suppressed, since diversity falls
with length and a setting that stops early would look diverse. (The reference implementation stops there, which is
rare within 100 tokens.)
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    Cache,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteriaList,
    TextStreamer,
)

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.generation.batches import ALONE, Share, in_batches, pad, pad_token
from autocontrastive_gen.generation.cache import GrowingLayer, growing_cache
from autocontrastive_gen.generation.decoder import Decoder
from autocontrastive_gen.generation.notes import Notes


def generate_texts(
    model,
    tokenizer,
    prompts: Sequence[Mapping[str, str]],
    decoder: Decoder,
    new_tokens: int,
    seed: int,
    batch_size: int,
    keep: Path | None = None,
    share: Share = ALONE,
    notes: bool = False,
) -> list[dict]:
    """Continue each prompt with the exit or contrast that ``model`` is set to.

    Args:
        model: a decoder-only model of transformers, multi-exit or plain. Of its ``generation_config``, only the
            special tokens are used.
        prompts: mappings with a unique "id" and a "prompt".
        decoder: how tokens are picked (``DECODERS.build``).
        new_tokens: length of every continuation in tokens.
        seed: seeds what the decoder draws; each (prompt id, step) has its own stream.
        batch_size: prompts per batch; in float32 it changes no token.
        keep: folder for finished batches, which a later call reads back.
        share: this process and the number of processes (``in_batches``).
        notes: whether to add what ``annotate`` adds, where it can be had on the way (``Notes.suit``).

    Returns:
        Rows ``{"id", "prompt", "continuation", "tokens", "pieces"}`` in the order of the prompts; "pieces" are the
        texts of the tokens, which join to the continuation.

    Raises:
        InputError: the model is an encoder-decoder or one that the decoder cannot use, a prompt is empty or too long
            for the model, or an id occurs twice.
    """
    encoded = _encode(model, tokenizer, prompts, new_tokens)
    takes_notes = notes and Notes.suit(model, decoder)

    def work(batch: list[int]) -> list[dict]:
        watched = copy.copy(model)
        taken = Notes(watched) if takes_notes else None
        padding = _end_of_text(model, pad_token(tokenizer))
        input_ids, mask = pad([encoded[i] for i in batch], padding, "left", model.device)
        ids = [prompts[i]["id"] for i in batch]
        continued = continue_batch(watched, input_ids, mask, decoder, ids, new_tokens, seed)
        rows = [_row(tokenizer, prompts[i], tokens) for i, tokens in zip(batch, continued.tolist(), strict=True)]
        found = [{}] * len(rows) if taken is None else taken.of(tokenizer, continued)
        return [{**row, **note} for row, note in zip(rows, found, strict=True)]

    return in_batches(
        range(len(prompts)),
        [len(ids) for ids in encoded],
        batch_size,
        work,
        tokens=new_tokens,
        title=decoder.name,
        keep=keep,
        share=share,
    )


def _row(tokenizer, prompt: Mapping[str, str], tokens: list[int]) -> dict:
    texts = pieces(tokenizer, tokens)
    row = {"id": prompt["id"], "prompt": prompt["prompt"], "continuation": "".join(texts)}
    return {**row, "tokens": tokens, "pieces": texts}


@torch.inference_mode()
def continue_batch(
    model,
    input_ids: Tensor,
    attention_mask: Tensor,
    decoder: Decoder,
    prompt_ids: Sequence[str],
    new_tokens: int,
    seed: int,
    stopping: StoppingCriteriaList | None = None,
) -> Tensor:
    """New tokens (B, new_tokens) of one batch of prompts.

    Args:
        input_ids: (B, T), padded on the left, with the end-of-text token if the model has one:
            ``no_repeat_ngram_size`` treats padding as text, and may then forbid only what is suppressed anyway.
        attention_mask: (B, T), 0 at padding.
        prompt_ids: one per row; they seed what the decoder draws.
        stopping: asked after every token, as by transformers' ``generate``.
    """
    options = {"max_new_tokens": new_tokens, "stopping_criteria": stopping, "first": [_Endless(model)]}
    return _generate(model, input_ids, attention_mask, decoder, prompt_ids, seed, **options)


class _Endless(LogitsProcessor):
    """Forbids the end-of-text tokens, in place: transformers' ``min_new_tokens`` makes four copies of all scores."""

    def __init__(self, model) -> None:
        self._ends = _ends_of_text(model)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (B, V), without a way to end."""
        scores[:, self._ends] = -torch.inf
        return scores


@torch.inference_mode()
def stream_text(
    model, tokenizer, prompt: str, decoder: Decoder, new_tokens: int, seed: int, write: Callable[[str], object]
) -> None:
    """Continue one prompt until the end-of-text token or ``new_tokens``, and hand on the text as it is made.

    Args:
        model, decoder, seed: as for ``generate_texts``.
        new_tokens: the largest number of new tokens.
        write: called with one piece of text after the other; once, with all of it, if the decoder chooses among whole
            continuations (beam search) or has a loop of its own (contrastive search).

    Raises:
        InputError: as ``generate_texts``.
    """
    ids = encode_prompt(model, tokenizer, prompt, new_tokens)
    input_ids = torch.tensor([ids], device=model.device)
    streamed = decoder.follows_one_text
    options = {"streamer": _Pieces(tokenizer, write)} if streamed else {}
    mask, limit = torch.ones_like(input_ids), {"max_new_tokens": new_tokens}
    tokens = _generate(model, input_ids, mask, decoder, ["prompt"], seed, **limit, **options)
    if not streamed:
        write(tokenizer.decode(tokens[0], skip_special_tokens=True, clean_up_tokenization_spaces=False))


class _Pieces(TextStreamer):
    """Hands on whole words of the continuation."""

    def __init__(self, tokenizer, write: Callable[[str], object]) -> None:
        options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
        super().__init__(tokenizer, skip_prompt=True, **options)
        self._write = write

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        self._write(text)


def _generate(
    model,
    input_ids: Tensor,
    mask: Tensor,
    decoder: Decoder,
    prompt_ids: Sequence[str],
    seed: int,
    first: Sequence[LogitsProcessor] = (),
    **options: Any,
) -> Tensor:
    """New tokens (B, at most max_new_tokens); the processors ``first`` come before those of the decoder."""
    options |= {
        "do_sample": False,  # the processors sample
        "early_stopping": False,
        "logits_processor": LogitsProcessorList([*first, *decoder.processors(prompt_ids, seed)]),
        **decoder.arguments(),
    }
    plain = _without_defaults(model)
    if plain._supports_default_dynamic_cache():
        options["past_key_values"] = _prompt_cache(plain, input_ids, mask, options.get("num_beams", 1))
    return plain.generate(input_ids=input_ids, attention_mask=mask, **options)[:, input_ids.shape[1] :]


def _prompt_cache(model, input_ids: Tensor, attention_mask: Tensor, beams: int) -> Cache:
    """A cache for ``generate``; for beams, it holds all of the prompt but its last token, read once for all of them."""
    cache = growing_cache(model)
    if beams == 1 or input_ids.shape[1] == 1 or not _keeps_all(cache):
        return cache
    model.generate(input_ids=input_ids, attention_mask=attention_mask, past_key_values=cache, max_new_tokens=1)
    cache.crop(-1)
    cache.batch_repeat_interleave(beams)
    for layer in cache.layers:
        layer.shared = layer.get_seq_length()
    return cache


def _keeps_all(cache: Cache) -> bool:
    """Whether every layer keeps every token, so that the last one can be taken back."""
    kinds = {type(layer) for layer in cache.layers} or {cache.layer_class_to_replicate}
    return kinds == {GrowingLayer}


def _without_defaults(model):
    """The same model with a ``generation_config`` of special tokens alone: a checkpoint's own may ask for anything."""
    special = {name: getattr(model.generation_config, name) for name in ("bos_token_id", "eos_token_id")}
    shared = copy.copy(model)  # the weights stay one
    shared.generation_config = GenerationConfig(**special, pad_token_id=_end_of_text(model, 0))
    return shared


def _end_of_text(model, otherwise: int) -> int:
    """The model's end-of-text token (the first, if it has several), or ``otherwise``."""
    return next(iter(_ends_of_text(model)), otherwise)


def _ends_of_text(model) -> list[int]:
    ends = model.generation_config.eos_token_id
    return [] if ends is None else [*ends] if isinstance(ends, list | tuple) else [ends]


def _encode(model, tokenizer, prompts, new_tokens: int) -> list[list[int]]:
    ids = [prompt["id"] for prompt in prompts]
    if len(set(ids)) < len(ids):
        twice = sorted({i for i in ids if ids.count(i) > 1})
        raise InputError(f"prompt ids seed the sampling and must be unique; repeated: {', '.join(map(str, twice))}")
    return [encode_prompt(model, tokenizer, each["prompt"], new_tokens, f"prompt {each['id']!r}") for each in prompts]


def encode_prompt(model, tokenizer, prompt: str, new_tokens: int, name: str = "the prompt") -> list[int]:
    """The tokens of a prompt that the model can continue by ``new_tokens``; messages call it ``name``.

    Raises:
        InputError: the prompt is empty or too long, or the model is an encoder-decoder.
    """
    if model.config.is_encoder_decoder:
        raise InputError(f"{type(model).__name__} is an encoder-decoder; continuations need a decoder-only model")
    tokens = tokenizer(prompt)["input_ids"]
    if not tokens:
        raise InputError(f"{name} is empty")
    room = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if room is not None and len(tokens) + new_tokens > room:
        raise InputError(
            f"{name}: {len(tokens)} tokens and {new_tokens} new ones exceed the model's {room} positions; shorten the "
            "prompt or ask for fewer (in params.yaml: prepare.prompt_words, generate.new_tokens)"
        )
    return tokens


def pieces(tokenizer, tokens: Sequence[int]) -> list[str]:
    """The text of each token; they join to the text of all. A character of several tokens belongs to the last one."""
    texts, shown = [], ""
    for end in range(1, len(tokens) + 1):
        text = tokenizer.decode(tokens[:end], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        if end < len(tokens) and text.endswith("\ufffd"):
            text = shown
        texts.append(text[len(shown) :])
        shown = text
    return texts
