"""Continuations do not hang on batches, and each mode is the search or the sampling that it says."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from autocontrastive_gen.generation.decode import generate_texts, pieces
from autocontrastive_gen.generation.sampling import GumbelMax

NEW_TOKENS = 8
DECODES = {
    "greedy": {"decode": "greedy"},
    "beam": {"decode": "beam", "num_beams": 3},
    "top-k": {"decode": "top-k", "top_k": 20},
    "top-p": {"decode": "top-p", "top_p": 0.9},
}
SETTINGS = {
    "original": {},
    "exit": {"output_layer_index": 4},
    "contrast": {"contrast_layer_indices": ("original", 2)},
    "contrast of exits": {"contrast_layer_indices": (4, 2)},
    "dola": {"contrast_layer_indices": ("original", 2), "contrast_function": {"name": "dola", "layers": [2, 4]}},
}


def decode(model, tokenizer, prompts, name, batch_size=8, seed=7, **fields):
    return generate_texts(
        model, tokenizer, prompts, {**DECODES[name], "new_tokens": NEW_TOKENS, **fields}, seed, batch_size
    )


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", DECODES)
def test_the_batch_changes_no_token(model, tokenizer, prompts, name, setting):
    model.set_exits(**SETTINGS[setting])
    one, eight = (decode(model, tokenizer, prompts, name, batch_size) for batch_size in (1, 8))
    assert one == eight
    assert [row["id"] for row in one] == [prompt["id"] for prompt in prompts]
    assert {len(row["tokens"]) for row in one} == {NEW_TOKENS}


@pytest.mark.parametrize("name", ["greedy", "beam"])
def test_a_plain_setting_generates_what_transformers_does(model, tokenizer, prompts, smoke_model_folder, name):
    plain = AutoModelForCausalLM.from_pretrained(smoke_model_folder)
    beams = DECODES[name].get("num_beams", 1)
    for prompt, row in zip(prompts, decode(model, tokenizer, prompts, name), strict=True):
        ids = tokenizer(prompt["prompt"], return_tensors="pt").input_ids
        options = {"min_new_tokens": NEW_TOKENS, "max_new_tokens": NEW_TOKENS, "num_beams": beams}
        expected = plain.generate(ids, do_sample=False, **options)
        assert row["tokens"] == expected[0, ids.shape[1] :].tolist()


def log_probs(model, ids):
    """Log-probabilities (V,) after each of the sequences (B, T), whole, without a cache; end of text suppressed."""
    with torch.no_grad():
        found = model(input_ids=ids, use_cache=False).logits[:, -1].float().log_softmax(-1)
    found[:, model.config.eos_token_id] = -torch.inf
    return found


def slow_beam(model, ids, beams):
    """Beam search as its definition says: the best ``beams`` of all extensions, at each step."""
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


@pytest.mark.parametrize("name", ["top-k", "top-p"])
def test_sampling_stays_among_the_allowed_tokens(model, tokenizer, prompts, name):
    model.set_exits(**SETTINGS["contrast"])
    for prompt, row in zip(prompts, decode(model, tokenizer, prompts, name), strict=True):
        ids = tokenizer(prompt["prompt"], return_tensors="pt").input_ids
        for token in row["tokens"]:
            sorted_probs, order = log_probs(model, ids)[0].exp().sort(descending=True)
            sorted_probs = sorted_probs / sorted_probs.sum()
            before = sorted_probs.cumsum(0) - sorted_probs
            allowed = order[:20] if name == "top-k" else order[before < 0.9 + 1e-5]
            assert token in allowed.tolist()
            ids = torch.cat([ids, torch.tensor([[token]])], dim=1)


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
    with pytest.raises(ValueError, match="'typical' is not one of greedy, beam"):
        generate_texts(model, tokenizer, prompts, {"decode": "typical", "new_tokens": 4}, 0, 2)
    with pytest.raises(ValueError, match="exceed the model's 256 positions.*new_tokens"):
        decode(model, tokenizer, prompts, "greedy", new_tokens=260)
    with pytest.raises(ValueError, match="'x' is empty"):
        decode(model, tokenizer, [{"id": "x", "prompt": ""}], "greedy")
    with pytest.raises(ValueError, match="unique.*p1"):
        decode(model, tokenizer, [*prompts, prompts[1]], "greedy")
