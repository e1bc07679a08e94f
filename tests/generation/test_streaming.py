"""What is handed over while a text grows, against the text as a whole."""

import pytest

from autocontrastive_gen.generation.decode import encode_prompt, generate_texts
from autocontrastive_gen.generation.decoder import DECODERS
from autocontrastive_gen.generation.streaming import stream_tokens

DECODER_NAMES = ("greedy", "top-p", "beam", "contrastive-search")


def streamed(model, tokenizer, prompt, decoder, on_step):
    return stream_tokens(model, encode_prompt(model, tokenizer, prompt["prompt"], 12), decoder, 12, 7, on_step, "p0")


@pytest.mark.parametrize("name", DECODER_NAMES)
def test_a_streamed_text_is_the_one_that_is_generated_at_once(model, tokenizer, prompts, name):
    decoder, seen = DECODERS.build(name, {}), []
    with model.set_exits(contrast_layer_indices=("original", 3)):
        tokens = streamed(model, tokenizer, prompts[0], decoder, seen.append)
        (row,) = generate_texts(model, tokenizer, prompts[:1], decoder, 12, 7, 1)
    assert tokens == row["tokens"]
    assert [len(each) for each in seen] == list(range(1, 13))
    if name != "beam":  # which returns to another beam
        assert all(each == tokens[: len(each)] for each in seen)


@pytest.mark.parametrize("name", DECODER_NAMES)
def test_what_a_step_raises_ends_the_text(model, tokenizer, prompts, name):
    seen = []

    def third(tokens):
        seen.append(tokens)
        if len(tokens) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        streamed(model, tokenizer, prompts[0], DECODERS.build(name, {}), third)
    assert len(seen) == 3
