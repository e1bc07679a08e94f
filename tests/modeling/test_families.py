"""Families found by structure: their parts, and exits that equal a plain model cut off at that layer."""

from collections import Counter

import pytest
import torch
import transformers
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from autocontrastive_gen.modeling.anatomy import LogitStep
from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration
from tests.modeling.conftest import tiny_ids, tiny_plain

SIZES = {
    "hidden_size": 32, "d_model": 32, "n_embd": 32, "num_hidden_layers": 4, "n_layer": 4, "n_layers": 4,
    "num_layers": 4,
    "num_attention_heads": 4, "n_head": 4, "n_heads": 4, "num_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
    "intermediate_size": 64, "ffn_dim": 64, "n_inner": 64, "vocab_size": 96, "max_position_embeddings": 64,
    "n_positions": 64, "rotary_dim": 8, "embedding_size": 32, "num_experts": 4, "num_local_experts": 4,
    "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "decoder_layers": 4,
    "decoder_ffn_dim": 64, "decoder_attention_heads": 4, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
NAMED = {
    "gpt2": {}, "gpt_neo": {"attention_types": [[["global", "local"], 2]]}, "llama": {}, "gpt_neox": {}, "qwen2": {},
    "qwen3": {}, "mistral": {}, "opt": {"word_embed_proj_dim": 16}, "gemma2": {}, "gemma3_text": {}, "phi": {},
    "bloom": {}, "gptj": {}, "falcon": {}, "granite": {"logits_scaling": 8.0}, "cohere": {"logit_scale": 0.25},
    "mixtral": {}, "mamba": {},
}  # fmt: skip
STEPS = {
    "gemma2": (LogitStep("softcap", 30.0),),
    "granite": (LogitStep("over", 8.0),),
    "cohere": (LogitStep("times", 0.25),),
}


def tiny_family(model_type: str, **fields):
    blank = AutoConfig.for_model(model_type).get_text_config(decoder=True)
    known = blank.to_dict()
    sizes = {key: value for key, value in SIZES.items() if isinstance(known.get(key, ""), int | None)}
    config = type(blank)(**{**sizes, **fields})
    with torch.device("meta"):
        size = sum(parameter.numel() for parameter in AutoModelForCausalLM.from_config(config).parameters())
    if size > 5_000_000:
        raise RuntimeError(f"{size} parameters are not tiny")
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize("model_type", NAMED)
def test_named_families(model_type):
    model = tiny_family(model_type, **NAMED[model_type])
    ids = tiny_ids(2, 6)
    with torch.no_grad():
        expected = model(ids).logits
        model = AutoMultiExitModel.from_model(model, MultiExitConfiguration("SHARED_PROJECTION_DIRECT"))
        assert model.num_layers == 4
        assert model.anatomy.after_head == STEPS.get(model_type, ())
        states = model.exit_states(ids, layers=(2, 4))
        torch.testing.assert_close(model.project_exit(states[4], "original"), expected, atol=1e-5, rtol=1e-4)
        model.set_exits(output_layer_index=2)
        torch.testing.assert_close(model(ids).logits, model.project_exit(states[2], 2), atol=1e-5, rtol=1e-4)
        for fields in ({"output_layer_index": 3}, {"contrast_layer_indices": ("original", 2)}):
            model.set_exits(**fields)
            options = {"max_new_tokens": 3, "do_sample": False, "attention_mask": torch.ones_like(ids)}
            with_cache = model.generate(ids, use_cache=True, **options)
            assert torch.equal(with_cache, model.generate(ids, use_cache=False, **options))


@pytest.mark.parametrize(
    "model_type", ["gpt2", "llama", "gpt_neox", "opt", "bloom", "gemma2", "falcon", "phi", "qwen3"]
)
@torch.no_grad()
def test_a_single_exit_runs_its_layers_and_no_more(model_type):
    model = tiny_family(model_type, **NAMED[model_type])
    model = AutoMultiExitModel.from_model(model, MultiExitConfiguration("SHARED_PROJECTION_DIRECT"))
    ran = Counter()
    for layer, block in enumerate(model.anatomy.trunk(model)._modules.values(), 1):
        block.register_forward_hook(lambda *_, layer=layer: ran.update([layer]))
    ids = tiny_ids(2, 6)
    steps = 3
    options = {"max_new_tokens": steps, "eos_token_id": None, "do_sample": False, "return_dict_in_generate": True}
    ways = ({}, {"num_beams": 2}, {"cache_implementation": "static"}, {"use_cache": False})
    for way in ways:
        for last in (1, 2, 3):
            model.set_exits(output_layer_index=last)
            ran.clear()
            output = model.generate(ids, attention_mask=torch.ones_like(ids), **options, **way)
            assert ran == Counter(dict.fromkeys(range(1, last + 1), steps)), (way, last)
            if way.get("use_cache", True):
                lengths = [int(layer.get_seq_length()) for layer in output.past_key_values.layers]
                assert lengths[:last] == [6 + steps - 1] * last and not any(lengths[last:]), (way, last, lengths)
        model.set_exits(contrast_layer_indices=(3, 1))
        ran.clear()
        model.generate(ids, attention_mask=torch.ones_like(ids), **options, **way)
        assert ran == Counter(dict.fromkeys((1, 2, 3), steps))


def _all_families():
    return sorted(transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


@pytest.mark.slow
def test_every_family_is_proved_or_refused(record_property):
    outcomes = {}
    for model_type in _all_families():
        try:
            model = tiny_family(model_type, **NAMED.get(model_type, {}))
        except Exception as error:  # sizes that this family has its own rules for
            outcomes[model_type] = f"not built: {type(error).__name__}"
            continue
        try:
            AutoMultiExitModel.from_model(model, MultiExitConfiguration("SHARED_PROJECTION_DIRECT"))
            outcomes[model_type] = "proved"
        except ValueError as error:
            assert "can't be given exits: " in str(error), model_type
            outcomes[model_type] = "refused"
    record_property("outcomes", outcomes)
    proved = {model_type for model_type, outcome in outcomes.items() if outcome == "proved"}
    assert set(NAMED) <= proved
    assert len(proved) >= 115, outcomes


def test_a_model_that_is_not_recognised_is_refused_and_left_alone():
    model = tiny_plain()
    plain = type(model)
    model.transformer.h = nn.ModuleList([*model.transformer.h[:3], model.transformer.h[2]])  # runs a block twice
    with pytest.raises(ValueError, match="GPT2LMHeadModel can't be given exits: no list of blocks"):
        AutoMultiExitModel.from_model(model, MultiExitConfiguration("SHARED_PROJECTION_DIRECT"))
    assert type(model) is plain


@pytest.mark.parametrize("model_type", ["bert", "electra", "megatron-bert"])
def test_an_encoder_is_refused_and_a_decoder_of_its_family_is_not(model_type):
    direct = MultiExitConfiguration("SHARED_PROJECTION_DIRECT")
    with pytest.raises(ValueError, match="can't be given exits: a token changes what it reads before that token"):
        AutoMultiExitModel.from_model(tiny_family(model_type), direct)
    assert AutoMultiExitModel.from_model(tiny_family(model_type, is_decoder=True), direct).num_layers


def test_a_step_on_the_logits_that_is_not_recognised_is_refused():
    class Shifting(type(tiny_plain())):
        def forward(self, *args, **kwargs):
            output = super().forward(*args, **kwargs)
            output.logits = output.logits.sin()
            return output

    model = tiny_plain()
    model.__class__ = Shifting
    with pytest.raises(ValueError, match="its steps on the logits"):
        AutoMultiExitModel.from_model(model, MultiExitConfiguration("SHARED_PROJECTION_DIRECT"))
