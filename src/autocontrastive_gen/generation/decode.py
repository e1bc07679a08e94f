"""Continuations of prompts under any decoding mode, reproducible whatever the batch.

All continuations are equally long: the end-of-text token is suppressed, since diversity falls with length and a setting
that stops early would look diverse. (The reference stops at it, which in 100 tokens is rare.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from transformers import LogitsProcessorList, TopKLogitsWarper, TopPLogitsWarper

from autocontrastive_gen.experiment.settings import DECODES
from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.generation.batches import ALONE, Share, in_batches, pad, pad_token
from autocontrastive_gen.generation.sampling import GumbelMax


def generate_texts(
    model,
    tokenizer,
    prompts: Sequence[Mapping[str, str]],
    decode: Mapping[str, object],
    seed: int,
    batch_size: int,
    keep: Path | None = None,
    share: Share = ALONE,
) -> list[dict]:
    """Continue each prompt with the exit or contrast that ``model`` is set to.

    Args:
        model: a decoder-only model of transformers, multi-exit or plain.
        prompts: mappings with a unique "id" and a "prompt".
        decode: ``{"decode": greedy | beam | top-k | top-p, "new_tokens": int}`` and num_beams, top_k or top_p.
        seed: of the noise of top-k and top-p; each (prompt id, step) has its own stream.
        batch_size: prompts at a time; in float32 it changes no token.
        keep: folder for finished batches, read back by a later call.
        share: this process and the number of them (``in_batches``).

    Returns:
        Rows ``{"id", "prompt", "continuation", "tokens", "pieces"}`` in the order of the prompts; "pieces" are the
        texts of the tokens, which join to the continuation.

    Raises:
        ValueError: unknown mode, an encoder-decoder model, an empty prompt, one too long for the model, or a
            repeated id.
    """
    if decode["decode"] not in DECODES:
        raise InputError(f"decode: {decode['decode']!r} is not one of {', '.join(DECODES)}")
    new_tokens = int(decode["new_tokens"])
    encoded = _encode(model, tokenizer, prompts, new_tokens)

    def work(batch: list[int]) -> list[dict]:
        ids = [prompts[i]["id"] for i in batch]
        continued = _continue(model, tokenizer, [encoded[i] for i in batch], ids, decode, seed)
        return [_row(tokenizer, prompts[i], tokens) for i, tokens in zip(batch, continued, strict=True)]

    return in_batches(
        range(len(prompts)),
        [len(ids) for ids in encoded],
        batch_size,
        work,
        tokens=new_tokens,
        title=decode["decode"],
        keep=keep,
        share=share,
    )


def _row(tokenizer, prompt: Mapping[str, str], tokens: list[int]) -> dict:
    texts = pieces(tokenizer, tokens)
    row = {"id": prompt["id"], "prompt": prompt["prompt"], "continuation": "".join(texts)}
    return {**row, "tokens": tokens, "pieces": texts}


@torch.inference_mode()
def _continue(model, tokenizer, encoded, ids, decode, seed) -> list[list[int]]:
    """New tokens of one batch, (B, new_tokens)."""
    input_ids, mask = pad(encoded, pad_token(tokenizer), "left", model.device)
    output = model.generate(
        input_ids=input_ids,
        attention_mask=mask,
        pad_token_id=pad_token(tokenizer),
        min_new_tokens=decode["new_tokens"],
        max_new_tokens=decode["new_tokens"],
        num_beams=int(decode.get("num_beams", 1)) if decode["decode"] == "beam" else 1,
        do_sample=False,  # the processors sample
        logits_processor=_processors(decode, ids, seed),
        # a checkpoint's generation_config may ask for more than the mode does
        repetition_penalty=1.0,
        length_penalty=1.0,
        early_stopping=False,
        return_dict_in_generate=False,
    )
    return output[:, input_ids.shape[1] :].tolist()


def _processors(decode: Mapping, ids: Sequence[str], seed: int) -> LogitsProcessorList:
    if decode["decode"] == "top-k":
        return LogitsProcessorList([TopKLogitsWarper(int(decode["top_k"])), GumbelMax(ids, seed)])
    if decode["decode"] == "top-p":
        return LogitsProcessorList([TopPLogitsWarper(float(decode["top_p"])), GumbelMax(ids, seed)])
    return LogitsProcessorList()


def _encode(model, tokenizer, prompts, new_tokens: int) -> list[list[int]]:
    if model.config.is_encoder_decoder:
        raise InputError(f"{type(model).__name__} is an encoder-decoder; continuations need a decoder-only model")
    ids = [prompt["id"] for prompt in prompts]
    if len(set(ids)) < len(ids):
        twice = sorted({i for i in ids if ids.count(i) > 1})
        raise InputError(f"prompt ids must be unique, they seed the sampling; repeated: {', '.join(map(str, twice))}")
    encoded = [tokenizer(prompt["prompt"])["input_ids"] for prompt in prompts]
    room = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    for name, tokens in zip(ids, encoded, strict=True):
        if not tokens:
            raise InputError(f"prompt {name!r} is empty")
        if room is not None and len(tokens) + new_tokens > room:
            raise InputError(
                f"prompt {name!r}: {len(tokens)} tokens and {new_tokens} new ones exceed the model's {room} positions; "
                "lower prepare.prompt_words or generate.new_tokens"
            )
    return encoded


def pieces(tokenizer, tokens: Sequence[int]) -> list[str]:
    """Text of each token, so that they join to the text of all; a character of several tokens is with its last."""
    texts, shown = [], ""
    for end in range(1, len(tokens) + 1):
        text = tokenizer.decode(tokens[:end], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        if end < len(tokens) and text.endswith("\ufffd"):
            text = shown
        texts.append(text[len(shown) :])
        shown = text
    return texts
