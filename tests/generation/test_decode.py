"""Continuations do not depend on batches, and each decoder is the search or the sampling that its name says."""

import copy

import pytest
import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.generation.decode import generate_texts, pieces
from autocontrastive_gen.generation.decoder import DECODERS
from autocontrastive_gen.generation.sampling import GumbelMax

NEW_TOKENS = 8
PARAMETERS = {"beam": {"num_beams": 3}, "top-k": {"top_k": 20}, "top-p": {"top_p": 0.9}, "typical": {"typical_p": 0.8}}
"""Parameters with an effect on a tiny random model, where the defaults have little."""
VARIANTS = {
    "greedy, penalty": ("greedy", {"repetition_penalty": 1.3}),
    "greedy, no bigram": ("greedy", {"no_repeat_ngram_size": 2}),
    "beam, both": ("beam", {"num_beams": 3, "repetition_penalty": 1.3, "no_repeat_ngram_size": 2}),
    "top-k, all": ("top-k", {"top_k": 9, "temperature": 0.7, "repetition_penalty": 1.3, "no_repeat_ngram_size": 2}),
}
RECORDED = {
    ("greedy", "original"): [228, 158, 228, 228, 228, 93, 472, 297],
    ("greedy", "contrast"): [83, 277, 93, 197, 83, 348, 93, 367],
    ("beam", "original"): [228, 158, 228, 228, 228, 93, 472, 297],
    ("beam", "contrast"): [228, 93, 133, 93, 83, 348, 93, 133],
    ("top-k", "original"): [487, 19, 290, 93, 354, 471, 363, 434],
    ("top-k", "contrast"): [434, 93, 290, 93, 133, 315, 93, 133],
    ("top-p", "original"): [487, 19, 290, 93, 58, 277, 55, 166],
    ("top-p", "contrast"): [434, 93, 290, 93, 133, 315, 16, 166],
}
"""Continuations of the first prompt, recorded before decoders became classes."""
SETTINGS = {
    "original": {},
    "exit": {"output_layer_index": 4},
    "contrast": {"contrast_layer_indices": ("original", 2)},
    "contrast of exits": {"contrast_layer_indices": (4, 2)},
    "dola": {"contrast_layer_indices": ("original", 2), "contrast_function": {"name": "dola", "layers": [2, 4]}},
}


def decode(model, tokenizer, prompts, decoder, batch_size=8, seed=7, new_tokens=NEW_TOKENS):
    """Rows by a decoder, or by the decoder or variant of that name."""
    if isinstance(decoder, str):
        decoder = DECODERS.build(*VARIANTS.get(decoder, (decoder, PARAMETERS.get(decoder, {}))))
    return generate_texts(model, tokenizer, prompts, decoder, new_tokens, seed, batch_size)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", [*DECODERS, *VARIANTS])
def test_the_batch_changes_no_token(model, tokenizer, prompts, name, setting):
    model.set_exits(**SETTINGS[setting])
    one, eight = (decode(model, tokenizer, prompts, name, batch_size) for batch_size in (1, 8))
    assert one == eight
    assert [row["id"] for row in one] == [prompt["id"] for prompt in prompts]
    assert {len(row["tokens"]) for row in one} == {NEW_TOKENS}


@pytest.mark.parametrize(("name", "setting"), RECORDED)
def test_tokens_are_those_recorded(model, tokenizer, prompts, name, setting):
    model.set_exits(**SETTINGS[setting])
    assert decode(model, tokenizer, prompts[:1], name)[0]["tokens"] == RECORDED[name, setting]


def generated(plain, tokenizer, prompt, **options):
    """The continuation of one prompt by transformers itself."""
    ids = tokenizer(prompt["prompt"], return_tensors="pt").input_ids
    options = {"min_new_tokens": NEW_TOKENS, "max_new_tokens": NEW_TOKENS, "do_sample": False, **options}
    return plain.generate(ids, **options)[0, ids.shape[1] :].tolist()


@pytest.mark.parametrize("name", ["greedy", "beam", "greedy, penalty", "greedy, no bigram", "beam, both"])
def test_a_plain_setting_generates_what_transformers_does(model, tokenizer, prompts, smoke_model_folder, name):
    plain = AutoModelForCausalLM.from_pretrained(smoke_model_folder)
    options = VARIANTS[name][1] if name in VARIANTS else PARAMETERS.get(name, {})
    for prompt, row in zip(prompts, decode(model, tokenizer, prompts, name), strict=True):
        assert row["tokens"] == generated(plain, tokenizer, prompt, **options)


def test_a_penalty_and_forbidden_bigrams_change_the_text(model, tokenizer, prompts):
    texts = [decode(model, tokenizer, prompts, name) for name in ("greedy", "greedy, penalty", "greedy, no bigram")]
    assert texts[0] != texts[1] and texts[0] != texts[2] and texts[1] != texts[2]


@pytest.mark.parametrize("name", ["greedy", "beam", "top-p"])
def test_the_generation_config_of_a_checkpoint_changes_nothing(model, tokenizer, prompts, name):
    expected = decode(model, tokenizer, prompts, name)
    wants = {"repetition_penalty": 3.0, "no_repeat_ngram_size": 1, "suppress_tokens": list(range(1, 300)), "top_k": 1}
    wants |= {"do_sample": True, "temperature": 9.0, "num_beams": 2, "length_penalty": -4.0, "use_cache": False}
    model.generation_config = GenerationConfig(eos_token_id=0, bos_token_id=0, pad_token_id=1, **wants)
    assert decode(model, tokenizer, prompts, name) == expected
    assert model.generation_config.repetition_penalty == 3.0  # the model keeps it


@pytest.mark.parametrize("parameters", [{"no_repeat_ngram_size": 1}, {"repetition_penalty": 9}])
def test_penalties_do_not_see_padding(model, tokenizer, prompts, parameters):
    """Not even where the tokenizer pads with the token that a short prompt continues with."""
    decoder = DECODERS.build("greedy", parameters)
    alone = [decode(model, tokenizer, [prompt], decoder)[0] for prompt in prompts]
    padded = copy.deepcopy(tokenizer)
    padded.pad_token = tokenizer.convert_ids_to_tokens(alone[1]["tokens"][0])
    assert padded.pad_token_id == alone[1]["tokens"][0]
    assert decode(model, padded, prompts, decoder, batch_size=9) == alone


def log_probs(model, ids):
    """Log-probabilities (B, V) after whole sequences (B, T), without a cache; the end of text is suppressed."""
    with torch.no_grad():
        found = model(input_ids=ids, use_cache=False).logits[:, -1].float().log_softmax(-1)
    found[:, model.config.eos_token_id] = -torch.inf
    return found


def slow_beam(model, ids, beams):
    """Beam search by its definition: at each step, the best ``beams`` of all extensions."""
    sequences, scores = ids, torch.zeros(1)
    for _ in range(NEW_TOKENS):
        total = scores[:, None] + log_probs(model, sequences)  # (beams, V)
        scores, flat = total.flatten().topk(beams)
        row, token = flat // total.shape[1], flat % total.shape[1]
        sequences = torch.cat([sequences[row], token[:, None]], dim=1)
    return sequences[scores.argmax(), ids.shape[1] :].tolist()


@pytest.mark.parametrize("setting", ["contrast", "contrast of exits"])
def test_beam_search_with_contrast_is_exact(model, tokenizer, prompts, setting):
    model.set_exits(**SETTINGS[setting])
    for prompt, row in zip(prompts, decode(model, tokenizer, prompts, "beam"), strict=True):
        ids = tokenizer(prompt["prompt"], return_tensors="pt").input_ids
        assert row["tokens"] == slow_beam(model, ids, beams=3)


def nucleus(probs, mass):
    order = probs.argsort(descending=True)
    before = probs[order].cumsum(0) - probs[order]
    return order[before < mass]


def nearest_to_entropy(probs, mass):
    information = torch.where(probs > 0, -probs.log(), torch.inf)
    entropy = (probs * information)[probs > 0].sum()
    order = (information - entropy).abs().argsort()
    before = probs[order].cumsum(0) - probs[order]
    return order[before < mass]


ALLOWED = {
    "temperature": ({"temperature": 0.5}, lambda probs: probs.nonzero().flatten()),
    "top-k": ({"top_k": 20}, lambda probs: probs.topk(20).indices),
    "top-p": ({"top_p": 0.9}, lambda probs: nucleus(probs, 0.9)),
    "min-p": ({"min_p": 0.1}, lambda probs: (probs >= 0.1 * probs.max()).nonzero().flatten()),
    "typical": ({"typical_p": 0.6}, lambda probs: nearest_to_entropy(probs, 0.6)),
}
"""Sampler -> its parameters, and the tokens that its definition allows given probabilities (V,)."""


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("name", ALLOWED)
def test_samplers_draw_from_the_distribution_that_their_definition_leaves(name, temperature):
    parameters, allowed = ALLOWED[name]
    sampler = DECODERS.build(name, {"temperature": temperature, **parameters})
    *warpers, draw = sampler.processors(["p"], seed=0)
    assert isinstance(draw, GumbelMax)
    logits = 2 * torch.randn(5, 200, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    logits[:, 7] = -torch.inf
    scores = logits.clone()
    for warper in warpers:
        scores = warper(None, scores)
    for row, found in zip(logits, scores.softmax(-1), strict=True):
        probs = (row / sampler.temperature).softmax(-1)
        expected = torch.zeros_like(probs)
        expected[allowed(probs)] = probs[allowed(probs)]
        torch.testing.assert_close(found, expected / expected.sum())


@pytest.mark.parametrize("name", ALLOWED)
def test_sampling_stays_among_the_allowed_tokens(model, tokenizer, prompts, name):
    model.set_exits(**SETTINGS["contrast"])
    parameters, allowed = ALLOWED[name]
    decoder = DECODERS.build(name, parameters)
    drawn, surprises = 0, 0
    for prompt, row in zip(prompts, decode(model, tokenizer, prompts, decoder), strict=True):
        ids = tokenizer(prompt["prompt"], return_tensors="pt").input_ids
        for token in row["tokens"]:
            probs = (log_probs(model, ids)[0].double() / decoder.temperature).softmax(-1)
            assert token in allowed(probs)
            drawn, surprises = drawn + 1, surprises + (token != int(probs.argmax()))
            ids = torch.cat([ids, torch.tensor([[token]])], dim=1)
    assert drawn == len(prompts) * NEW_TOKENS and surprises


def test_gumbel_noise_draws_from_the_distribution():
    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.05, 0.0])
    draws = 20000
    processor = GumbelMax([f"prompt {i}" for i in range(draws)], seed=3)
    scores = processor(None, probabilities.log().expand(draws, -1) + 4.0)
    share = torch.bincount(scores.argmax(-1), minlength=5) / draws
    # five standard errors
    assert (share - probabilities).abs().max() < 5 * (0.25 / draws) ** 0.5
    assert share[4] == 0


def test_noise_belongs_to_prompt_step_and_seed(model, tokenizer, prompts):
    rows = decode(model, tokenizer, prompts, "top-p")
    alone = decode(model, tokenizer, prompts[3:5], "top-p")
    assert rows[3:5] == alone
    assert decode(model, tokenizer, prompts, "top-p", seed=8) != rows
    renamed = decode(model, tokenizer, [{**prompts[3], "id": "another"}], "top-p")
    assert renamed[0]["tokens"] != rows[3]["tokens"]


def test_pieces_join_to_the_text_even_within_characters(tokenizer):
    text = "naïve – 光と影 🙂 end"
    tokens = tokenizer(text)["input_ids"]
    found = pieces(tokenizer, tokens)
    assert len(found) == len(tokens) and "".join(found) == text


def test_bad_requests_say_what_is_wrong(model, tokenizer, prompts):
    with pytest.raises(InputError, match="exceed the model's 256 positions.*new_tokens"):
        decode(model, tokenizer, prompts, "greedy", new_tokens=260)
    with pytest.raises(InputError, match="'x' is empty"):
        decode(model, tokenizer, [{"id": "x", "prompt": ""}], "greedy")
    with pytest.raises(InputError, match="unique.*p1"):
        decode(model, tokenizer, [*prompts, prompts[1]], "greedy")
