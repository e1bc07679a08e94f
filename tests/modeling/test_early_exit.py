"""Early exit against a slow version that runs every block on every token, one at a time."""

from collections import Counter

import pytest
import torch
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    DynamicCache,
    FalconConfig,
    FalconForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration
from autocontrastive_gen.modeling.early_exit import EarlyExit

V = 70
SPECIAL = {"bos_token_id": 1, "eos_token_id": None, "pad_token_id": 0, "initializer_range": 0.15}
SIZES = {"hidden_size": 32, "num_hidden_layers": 6, "num_attention_heads": 4, "vocab_size": V, **SPECIAL}
FAMILIES = {
    "gpt2": (GPT2LMHeadModel, GPT2Config(n_embd=32, n_layer=6, n_head=4, vocab_size=V, n_positions=64, **SPECIAL)),
    "llama": (LlamaForCausalLM, LlamaConfig(intermediate_size=48, num_key_value_heads=2, **SIZES)),
    "gpt-neox": (GPTNeoXForCausalLM, GPTNeoXConfig(intermediate_size=48, **SIZES)),
    "opt": (OPTForCausalLM, OPTConfig(ffn_dim=48, word_embed_proj_dim=32, **SIZES)),
    "bloom": (BloomForCausalLM, BloomConfig(n_head=4, n_layer=6, **SIZES)),
    "falcon": (FalconForCausalLM, FalconConfig(**SIZES)),
    "gemma2": (
        Gemma2ForCausalLM,
        Gemma2Config(intermediate_size=48, num_key_value_heads=2, head_dim=8, sliding_window=5, **SIZES),
    ),
}
LAYERS = (2, 3, 5)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return request.param


def build(name: str):
    """A random model with heads at three layers, some of them sure of some tokens."""
    torch.manual_seed(0)
    cls, config = FAMILIES[name]
    config = type(config)(**{**config.to_dict(), "attn_implementation": "eager"})
    model = AutoMultiExitModel.from_model(cls(config).eval(), MultiExitConfiguration(lm_head_layer_indices=LAYERS))
    for parameters in model.exit_parameters().values():
        torch.nn.init.normal_(parameters[0], std=0.7)
    return model


@pytest.fixture(scope="module")
def model(family):
    return build(family)


@pytest.fixture
def ids():
    return torch.randint(2, V, (3, 9), generator=torch.Generator().manual_seed(1))


def slow_confidence(logits, criterion):
    p = sorted(logits.double().softmax(-1).tolist(), reverse=True)
    return p[0] if criterion == "softmax" else p[0] - p[1]


def slow_forward(model, row, rule):
    """Logits (T, V) and end layers, one token after the other, every block run whole."""
    trunk = model.transformer if hasattr(model, "transformer") else model.model
    blocks, norm = (trunk.h, trunk.ln_f) if hasattr(trunk, "h") else (trunk.layers, trunk.norm)
    cache, logits, ends = DynamicCache(), [], []
    for t, token in enumerate(row):
        position = torch.tensor([[t]])
        if hasattr(trunk, "h"):
            state, extra = trunk.wte(token[None, None]) + trunk.wpe(position), {}
        else:
            state = trunk.embed_tokens(token[None, None])
            extra = {"position_embeddings": trunk.rotary_emb(state, position)}
        end = None
        for layer, block in enumerate(list(blocks), 1):
            output = block(state, past_key_values=cache, **extra)
            if end is None:
                state = output if isinstance(output, torch.Tensor) else output[0]
                if layer in LAYERS:
                    said = norm(state)[0, 0] @ model.exit_head(layer).weight.T
                    if slow_confidence(said, rule.criterion) >= rule.threshold:
                        end = layer
        logits.append(said if end else norm(state)[0, 0] @ model.lm_head.weight.T)
        ends.append(end or len(blocks))
    return torch.stack(logits), ends


@torch.no_grad()
@pytest.mark.parametrize("name", ["gpt2", "llama"])
@pytest.mark.parametrize("rule", [EarlyExit(0.6), EarlyExit(0.45, "margin")])
def test_equals_the_slow_version(name, rule, ids):
    model = build(name)
    with model.set_exits(early_exit=rule):
        logits = model(ids).logits
        counted = model.tokens_per_layer
    slow = [slow_forward(model, row, rule) for row in ids]
    torch.testing.assert_close(logits, torch.stack([x for x, _ in slow]), rtol=1e-4, atol=1e-4)
    assert counted == Counter(layer for _, ends in slow for layer in ends)
    assert len(counted) >= 3 and model.num_layers in counted  # else the test would see too little


@torch.no_grad()
def test_the_cache_changes_nothing(model, ids):
    mask = torch.ones_like(ids)
    mask[1, :4] = 0  # left padding
    options = {"max_new_tokens": 8, "do_sample": False, "output_logits": True, "return_dict_in_generate": True}
    with model.set_exits(early_exit=EarlyExit(0.6)):
        cached = model.generate(ids, attention_mask=mask, **options)
        counted = model.tokens_per_layer
    with model.set_exits(early_exit=EarlyExit(0.6)):
        plain = model.generate(ids, attention_mask=mask, use_cache=False, **options)
        alone = model.generate(ids[1:2, 4:], attention_mask=mask[1:2, 4:], **options)
    assert torch.equal(cached.sequences, plain.sequences)
    torch.testing.assert_close(torch.stack(cached.logits), torch.stack(plain.logits), rtol=1e-3, atol=1e-3)
    assert torch.equal(cached.sequences[1, 4:], alone.sequences[0])
    assert counted.total() == 3 * 8 and len(counted) >= 2


@torch.no_grad()
def test_its_ends_are_the_single_exit_and_the_whole_model(model, ids):
    with model.set_exits(output_layer_index=2):
        first, text = model(ids).logits, model.generate(ids, max_new_tokens=5, do_sample=False)
    with model.set_exits(early_exit=0):
        torch.testing.assert_close(model(ids).logits, first, rtol=1e-4, atol=1e-4)
        assert torch.equal(model.generate(ids, max_new_tokens=5, do_sample=False), text)
        assert set(model.tokens_per_layer) == {2}
    with model.set_exits(early_exit=EarlyExit(1.0, "margin")):
        torch.testing.assert_close(model(ids).logits, model.set_exits() and model(ids).logits)


@torch.no_grad()
def test_other_ways_of_decoding(model, ids):
    for options in ({"num_beams": 3}, {"cache_implementation": "static"}):
        with model.set_exits(early_exit=EarlyExit(0.6)):
            got = model.generate(ids, max_new_tokens=6, do_sample=False, **options)
            options.pop("cache_implementation", None)
            want = model.generate(ids, max_new_tokens=6, do_sample=False, use_cache=False, **options)
        assert torch.equal(got, want)


@torch.no_grad()
def test_encoder_decoder(ids):
    torch.manual_seed(0)
    config = T5Config(vocab_size=V, d_model=32, d_kv=8, d_ff=48, num_layers=6, num_heads=4,
                      decoder_start_token_id=0, eos_token_id=None, tie_word_embeddings=False)  # fmt: skip
    model = AutoMultiExitModel.from_model(
        T5ForConditionalGeneration(config).eval(), MultiExitConfiguration(lm_head_layer_indices=LAYERS)
    )
    for parameters in model.exit_parameters().values():
        torch.nn.init.normal_(parameters[0], std=0.7)
    with model.set_exits(early_exit=EarlyExit(0.6)):
        cached = model.generate(ids, max_new_tokens=8, do_sample=False)
        counted = model.tokens_per_layer
        assert torch.equal(cached, model.generate(ids, max_new_tokens=8, do_sample=False, use_cache=False))
    assert len(counted) >= 2


@torch.no_grad()
def test_skipped_layers_compute_keys_and_values_only(ids):
    model = build("llama")
    calls = Counter()
    parts = {"mlp": lambda block: block.mlp, "keys": lambda block: block.self_attn.k_proj}
    for layer, block in enumerate(model.model.layers, 1):
        for part, find in parts.items():
            find(block).register_forward_hook(lambda *_, key=(part, layer): calls.update([key]))
    with model.set_exits(early_exit=EarlyExit(0.0, layers=(3,))):
        model.generate(ids, max_new_tokens=4, do_sample=False)
    assert {calls["mlp", layer] for layer in (1, 2, 3)} == {4} == {calls["keys", layer] for layer in range(1, 7)}
    assert not any(calls["mlp", layer] for layer in (4, 5, 6))


@torch.no_grad()
def test_kept_positions_padding_and_loss(ids):
    model = build("gpt2")
    mask = torch.ones_like(ids)
    mask[0, 6:] = 0
    rule = EarlyExit(0.6)
    with model.set_exits(early_exit=rule):
        whole = model(ids, attention_mask=mask, labels=ids)
        assert model.tokens_per_layer.total() == mask.sum()
        torch.testing.assert_close(whole.loss, model.loss_function(whole.logits, ids, vocab_size=V))
    with model.set_exits(early_exit=rule):
        last = model(ids, attention_mask=mask, logits_to_keep=2).logits
        torch.testing.assert_close(last[1:], whole.logits[1:, -2:])
        assert model.tokens_per_layer.total() == 4
        some = model(ids, attention_mask=mask, logits_to_keep=torch.tensor([1, 5])).logits
        torch.testing.assert_close(some, whole.logits[:, [1, 5]])


def test_training_is_left_alone(ids):
    model = build("gpt2")
    model.set_exits(early_exit=EarlyExit(0.0))
    model.train()
    model(ids, labels=ids).loss.backward()
    assert all(parameter.grad.abs().sum() > 0 for (parameter,) in model.exit_parameters().values())
    assert not model.tokens_per_layer


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (0.8, EarlyExit(0.8)),
        ("0.8", EarlyExit(0.8)),
        (1, EarlyExit(1)),
        ({"threshold": 0.7, "criterion": "margin", "layers": [5, 2]}, EarlyExit(0.7, "margin", (2, 5))),
        ({"layers": "5;2"}, EarlyExit(layers=(2, 5))),
    ],
)
def test_forms(value, rule):
    config = MultiExitConfiguration(use_original_head=False, early_exit=value)
    assert config.early_exit == rule
    assert config.get_description() == f"early_exit_{rule.criterion}_{rule.threshold:g}"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1.5, "threshold of early_exit must be a number from 0 to 1, got 1.5"),
        (True, "threshold of early_exit must be a number"),
        ("high", "give a threshold from 0 to 1, or a mapping"),
        (
            {"threshold": 0.5, "kriterion": "margin"},
            "early_exit has no parameter 'kriterion'; it takes threshold, criterion, layers .did you mean criterion",
        ),
        ({"criterion": "entropy"}, "criterion of early_exit must be softmax or margin, got 'entropy'"),
        ({"layers": [0]}, "layers of early_exit must be whole numbers of at least 1"),
        ({"layers": "two"}, "layers of early_exit must be whole numbers of at least 1, got 'two'"),
    ],
)
def test_mistakes_are_named(value, message):
    with pytest.raises(ValueError, match=message):
        MultiExitConfiguration(use_original_head=False, early_exit=value)


def test_contradictions_and_strange_layers_are_refused():
    with pytest.raises(ValueError, match="contradicts use_original_head=True"):
        MultiExitConfiguration(early_exit=0.5)
    with pytest.raises(ValueError, match="output_layer_index=2 and early_exit=.* can't be used together"):
        MultiExitConfiguration(use_original_head=False, early_exit=0.5, output_layer_index=2)
    model = build("gpt2")
    with pytest.raises(ValueError, match="no exit 4; exits of its 6 layers: 2, 3, 5"):
        model.set_exits(early_exit={"layers": [2, 4]})
    assert model.set_exits(early_exit=0.5).config.use_original_head
    assert model.set_exits().config.early_exit == EarlyExit(0.5)
