"""Tokens that the last layer alone would not have given, against one plain step from every beginning of the text."""

import pytest

from autocontrastive_gen.generation.decode import encode_prompt
from autocontrastive_gen.generation.decoder import DECODERS
from autocontrastive_gen.generation.plain_picks import PlainPicks
from autocontrastive_gen.generation.streaming import stream_tokens

NEW = 14
CASES = [
    ("greedy", {}),
    ("greedy", {"repetition_penalty": 1.5, "no_repeat_ngram_size": 2}),
    ("top-p", {"top_p": 0.8, "temperature": 0.9}),
]


def text_of(model, tokenizer, prompts, decoder):
    prompt = encode_prompt(model, tokenizer, prompts[0]["prompt"], NEW)
    return prompt, stream_tokens(model, prompt, decoder, NEW, 5, lambda tokens: None)


@pytest.mark.parametrize("name, parameters", CASES)
@pytest.mark.parametrize("exits", [{"contrast_layer_indices": ("original", 3)}, {"output_layer_index": 2}])
def test_a_token_is_what_a_plain_step_gives_unless_it_is_listed(model, tokenizer, prompts, name, parameters, exits):
    decoder = DECODERS.build(name, parameters)
    with model.set_exits(**exits):
        prompt, tokens = text_of(model, tokenizer, prompts, decoder)
        picks = PlainPicks(model, prompt, decoder, 5)
        found = dict(picks.extend(tokens[:4]) + picks.extend(tokens[4:5]) + picks.extend(tokens[5:]))
    assert 0 < len(found), "this setting changes something"
    for position in range(NEW):  # the draws count steps from the prompt, so each is repeated from there
        assert found.get(position, tokens[position]) == plain_step(model, decoder, prompt, tokens[:position])


def plain_step(model, decoder, prompt, before):
    """The next token of the plain model, which is forced through the tokens before it."""
    import torch
    from transformers import LogitsProcessor, LogitsProcessorList

    class Forced(LogitsProcessor):
        def __call__(self, input_ids, scores):
            step = input_ids.shape[1] - len(prompt)
            if step < len(before):
                scores = torch.full_like(scores, -torch.inf)
                scores[:, before[step]] = 0
            return scores

    processors = LogitsProcessorList([*decoder.processors([""], 5), Forced()])
    options = {"do_sample": False, "logits_processor": processors, **decoder.arguments()}
    length = len(before) + 1
    ids = torch.tensor([prompt])
    generated = model.generate(ids, max_new_tokens=length, min_new_tokens=length, pad_token_id=0, **options)
    return int(generated[0, -1])


@pytest.mark.parametrize("name", ["beam", "contrastive-search"])
def test_of_a_search_the_first_choices_are_compared(model, tokenizer, prompts, name):
    import torch

    decoder = DECODERS.build(name, {})
    with model.set_exits(contrast_layer_indices=("original", 3)):
        prompt, tokens = text_of(model, tokenizer, prompts, decoder)
        found = dict(PlainPicks(model, prompt, decoder, 5).extend(tokens))
        ids = torch.tensor([prompt + tokens])
        contrast = model(ids).logits[0, len(prompt) - 1 : -1].argmax(-1).tolist()
    plain = model(ids).logits[0, len(prompt) - 1 : -1].argmax(-1).tolist()
    assert found == {i: p for i, (p, c) in enumerate(zip(plain, contrast, strict=True)) if p != c}


def test_the_plain_model_changes_nothing(model, tokenizer, prompts):
    decoder = DECODERS.build("top-p", {})
    prompt, tokens = text_of(model, tokenizer, prompts, decoder)
    assert PlainPicks(model, prompt, decoder, 5).extend(tokens) == []
