"""Contrastive search picks the tokens of the published algorithm, or refuses a model that it cannot use."""

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    GPT2Config,
    GPTNeoConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    OPTConfig,
    Qwen3Config,
)

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.generation import lookahead
from autocontrastive_gen.generation.decoder import DECODERS
from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration

NEW_TOKENS = 10
COMMON = {"vocab_size": 96, "max_position_embeddings": 64, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
NARROW = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4}
FAMILIES = {
    "gpt2": GPT2Config(n_layer=4, n_embd=32, n_head=4, initializer_range=0.3, **COMMON),
    "llama": LlamaConfig(**NARROW, num_key_value_heads=2, initializer_range=0.3, **COMMON),
    "gpt-neo": GPTNeoConfig(
        hidden_size=32, num_layers=4, num_heads=4, attention_types=[[["global", "local"], 2]], window_size=32,
        initializer_range=0.3, **COMMON,
    ),
    "mistral": MistralConfig(**NARROW, num_key_value_heads=2, sliding_window=32, initializer_range=0.3, **COMMON),
    "qwen3": Qwen3Config(**NARROW, num_key_value_heads=2, head_dim=8, initializer_range=0.3, **COMMON),
    "opt": OPTConfig(
        hidden_size=32, ffn_dim=64, num_hidden_layers=4, num_attention_heads=4, init_std=0.3, word_embed_proj_dim=32,
        **COMMON,
    ),
}  # fmt: skip
SETTINGS = {
    "original": {},
    "exit": {"output_layer_index": 3},
    "acd": {"contrast_layer_indices": ("original", 2)},
    "acd of exits": {"contrast_layer_indices": (3, 1)},
    "cd": {"contrast_layer_indices": ("original", 2), "contrast_function": {"name": "cd", "alpha": 0.5}},
    "early exit": {"early_exit": 0.2},
}


def tiny(family, **options):
    torch.manual_seed(0)
    plain = AutoModelForCausalLM.from_config(FAMILIES[family], **options).eval()
    return AutoMultiExitModel.from_model(plain, MultiExitConfiguration("SHARED_PROJECTION_DIRECT"))


def prompts():
    generator = torch.Generator().manual_seed(2)
    return [torch.randint(1, 96, (length,), generator=generator) for length in (9, 3, 5)]


def search(model, ids, mask=None, **parameters):
    decoder = DECODERS.build("contrastive-search", parameters)
    options = {"max_new_tokens": NEW_TOKENS, "min_new_tokens": NEW_TOKENS, **decoder.arguments()}
    mask = torch.ones_like(ids) if mask is None else mask
    return model.generate(ids, attention_mask=mask, do_sample=False, **options)[:, ids.shape[1] :]


def slow_search(model, ids, top_k, alpha):
    """Equation 5 token by token: no cache, no batch, one whole pass per candidate."""

    def run(ids):
        states = []
        hook = model.get_decoder().register_forward_hook(lambda *call: states.append(call[2][0][0]))
        with torch.no_grad():
            logits = model(input_ids=ids[None], use_cache=False).logits[0, -1]
        hook.remove()
        return logits.float(), states[0]

    start = len(ids)
    for _ in range(NEW_TOKENS):
        logits, before = run(ids)
        logits[0] = -torch.inf  # the end of text
        probabilities = logits.softmax(-1)
        best, winner = -torch.inf, None
        for token in probabilities.topk(top_k).indices:
            state = run(torch.cat([ids, token[None]]))[1][-1]
            likeness = max(float(torch.cosine_similarity(state, earlier, dim=0)) for earlier in before)
            score = (1 - alpha) * float(probabilities[token]) - alpha * likeness
            if probabilities[token] > 0 and score > best:
                best, winner = score, token
        ids = torch.cat([ids, winner[None]])
    return ids[start:].tolist()


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("family", ["gpt2", "llama", "mistral"])
def test_every_setting_gives_the_tokens_of_the_algorithm(family, setting):
    model = tiny(family)
    model.set_exits(**SETTINGS[setting])
    for ids in prompts():
        assert search(model, ids[None], top_k=5)[0].tolist() == slow_search(model, ids, 5, 0.6)


@pytest.mark.parametrize(
    ("family", "attention"),
    [*((name, "eager") for name in FAMILIES), *((name, "sdpa") for name in FAMILIES if name != "gpt-neo")],
)
def test_every_family_gives_them_in_a_padded_batch(family, attention):
    model = tiny(family, attn_implementation=attention)
    rows = prompts()
    longest = max(map(len, rows))
    ids = torch.stack([torch.cat([row.new_zeros(longest - len(row)), row]) for row in rows])
    mask = torch.stack([torch.arange(longest) >= longest - len(row) for row in rows]).long()
    found = search(model, ids, mask, top_k=4, penalty_alpha=0.5)
    assert found.tolist() == [slow_search(model, row, 4, 0.5) for row in rows]
    assert search(model, rows[0][None], top_k=4, penalty_alpha=0.5).tolist() == found[:1].tolist()


def test_without_penalty_or_choice_it_is_greedy_search():
    model, ids = tiny("llama"), prompts()[0][None]
    options = {"max_new_tokens": NEW_TOKENS, "min_new_tokens": NEW_TOKENS, "do_sample": False}
    greedy = model.generate(ids, attention_mask=torch.ones_like(ids), **options)[:, ids.shape[1] :]
    assert torch.equal(search(model, ids, penalty_alpha=0), greedy)
    assert torch.equal(search(model, ids, top_k=1), greedy)
    assert not torch.equal(search(model, ids), greedy)


def test_it_takes_the_penalties_of_every_decoder():
    model, ids = tiny("llama"), prompts()[0][None]
    text = [*ids[0].tolist(), *search(model, ids, no_repeat_ngram_size=1)[0].tolist()]
    assert len(set(text)) == len(text)
    assert not torch.equal(search(model, ids, repetition_penalty=2.0), search(model, ids))


@pytest.mark.parametrize("family", FAMILIES)
def test_states_are_the_last_hidden_states_of_transformers(family):
    model, ids = tiny(family), prompts()[0][None]
    with torch.no_grad():
        ahead = lookahead.Lookahead(model, ids, torch.ones_like(ids))
        output = model(ids, output_hidden_states=True)
    torch.testing.assert_close(ahead.states, output.hidden_states[-1])
    torch.testing.assert_close(ahead.logits, output.logits[:, -1])


def test_states_of_an_exit_are_what_its_head_sees():
    model, ids = tiny("llama"), prompts()[0][None]
    with torch.no_grad(), model.set_exits(contrast_layer_indices=(3, 1)):
        ahead = lookahead.Lookahead(model, ids, torch.ones_like(ids))
        torch.testing.assert_close(ahead.states, model.exit_states(ids, layers=(3,))[3])


def test_half_precision_is_not_refused():
    model, ids = tiny("llama").to(torch.bfloat16), prompts()[0][None]
    assert search(model, ids).shape == (1, NEW_TOKENS)


def test_texts_that_end_are_padded_and_the_others_go_on():
    model = tiny("gpt2")
    ids = torch.stack([row[-3:] for row in prompts()])
    whole = search(model, ids)
    model.generation_config.eos_token_id = end = int(whole[0, 2])
    model.generation_config.pad_token_id = 95
    options = DECODERS.build("contrastive-search", {}).arguments()
    found = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW_TOKENS, **options)[:, 3:]
    for row, expected in zip(found.tolist(), whole.tolist(), strict=True):
        stop = expected.index(end) + 1 if end in expected else NEW_TOKENS
        assert row[:stop] == expected[:stop] and set(row[stop:]) <= {95}
    assert 95 in found[0]


def test_a_pass_keeps_one_copy_of_the_cache():
    """After the first pass, each has one row per text and one token per candidate."""
    model, ids, shapes = tiny("llama"), prompts()[0][None], []
    lookahead.require_lookahead(model, 20)  # its trial is not counted below
    hook = model.get_decoder().register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(kwargs["input_ids"].shape),
        with_kwargs=True,
    )
    search(model, ids, top_k=5)
    hook.remove()
    assert shapes == [(1, 9)] + [(1, 5)] * NEW_TOKENS


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (BloomConfig(hidden_size=32, n_layer=2, n_head=4, vocab_size=96), "BloomForCausalLM can't be used with contr"),
        (MambaConfig(hidden_size=32, num_hidden_layers=2, vocab_size=96), "MambaForCausalLM can't be used with contr"),
    ],
)
def test_a_model_that_takes_no_such_mask_or_cache_is_refused(config, message):
    model = AutoModelForCausalLM.from_config(config).eval()
    with pytest.raises(InputError, match=message):
        search(model, torch.tensor([[5, 6, 7]]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_that_ignores_the_mask_is_refused_at_every_precision(monkeypatch, dtype):
    """Then a candidate sees those before it."""
    model = tiny("llama").to(dtype)
    run = lookahead.Lookahead._run
    monkeypatch.setattr(
        lookahead.Lookahead,
        "_run",
        lambda self, ids, mask, *more, **named: run(
            self, ids, mask if mask.dim() == 2 else causal(mask), *more, **named
        ),
    )
    with pytest.raises(InputError, match="does not take several tokens at one position"):
        search(model, torch.tensor([[5, 6, 7]]))


def causal(mask):
    k = mask.shape[2]
    return torch.cat(
        [mask[..., :-k], mask.new_full((k, k), torch.finfo(mask.dtype).min).triu(1).expand_as(mask[..., -k:])], -1
    )


@pytest.mark.parametrize(("family", "name"), [("mistral", "sliding_window"), ("gpt-neo", "window_size")])
def test_texts_beyond_a_local_window_are_refused(family, name):
    model = tiny(family)
    ids = torch.arange(1, 24)[None]
    with pytest.raises(InputError, match=f"37 tokens of prompt, continuation and candidates.*{name}=32"):
        search(model, ids)
