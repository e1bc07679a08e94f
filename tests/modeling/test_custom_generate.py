"""Contrast in ``generate`` of a plain model: the tokens of a multi-exit model, and a model that stays as it is."""

import copy

import pytest
import torch
from accelerate import cpu_offload
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import (
    AutoModelForSeq2SeqLM,
    LogitsProcessor,
    T5Config,
    UnbatchedClassifierFreeGuidanceLogitsProcessor,
)
from transformers.generation.streamers import BaseStreamer

from autocontrastive_gen import AutoMultiExitModel, InputError, MultiExitConfiguration, contrast
from autocontrastive_gen.modeling import multi_exit
from autocontrastive_gen.modeling.method import METHODS
from tests.modeling.conftest import MODES, tiny_ids, tiny_model, tiny_plain
from tests.modeling.test_families import NAMED, tiny_family

WAYS = {
    "greedy": {},
    "sampling": {"do_sample": True, "temperature": 0.9, "top_p": 0.9},
    "beams": {"num_beams": 3},
    "sampled beams": {"num_beams": 2, "do_sample": True, "num_return_sequences": 2},
}
SHIPPED = [name for name in METHODS if METHODS[name].__module__.startswith("autocontrastive_gen.")]


def padded(rows: int = 3, length: int = 7) -> dict[str, torch.Tensor]:
    """Prompts of different lengths, padded on the left."""
    ids, mask = tiny_ids(rows, length), torch.ones(rows, length, dtype=torch.long)
    for row in range(rows):
        ids[row, :row], mask[row, :row] = 0, 0
    return {"input_ids": ids, "attention_mask": mask}


def tokens_of(model, inputs, **options):
    options = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0, "eos_token_id": None, **options}
    torch.manual_seed(3)
    return model.generate(**inputs, **options)


def multi_exit_form(plain, lower, upper="original", **method):
    model = AutoMultiExitModel.from_model(copy.deepcopy(plain), MultiExitConfiguration(MODES[2]))
    model.set_exits(contrast_layer_indices=(upper, lower), contrast_function=method)
    return model


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SHIPPED)
def test_every_method_gives_the_tokens_of_the_multi_exit_model(name, way):
    plain, inputs = tiny_plain(), padded()
    lower = 2 if METHODS[name]().takes_lower else None
    expected = tokens_of(multi_exit_form(plain, lower, name=name), inputs, **WAYS[way])
    got = tokens_of(plain, inputs, custom_generate=contrast(name, lower=lower), **WAYS[way])
    assert torch.equal(got, expected)
    if name not in ("none", "ensemble"):  # a mixture of untrained exits may well agree with the last one
        assert not torch.equal(got, tokens_of(plain, inputs, **WAYS[way]))


@pytest.mark.parametrize("way", ["greedy", "sampling", "beams"])
@pytest.mark.parametrize("model_type", ["llama", "gemma2", "opt", "granite", "mamba"])
def test_families(model_type, way):
    plain = tiny_family(model_type, **NAMED[model_type])
    inputs = padded()
    for method in ({"name": "acd", "alpha": 0.01}, {"name": "dola", "layers": "high"}):
        lower = 1 if method["name"] == "acd" else None
        name, *parameters = method.items()
        expected = tokens_of(multi_exit_form(plain, lower, **method), inputs, **WAYS[way])
        got = tokens_of(plain, inputs, custom_generate=contrast(name[1], lower=lower, **dict(parameters)), **WAYS[way])
        assert torch.equal(got, expected)


def test_an_encoder_decoder():
    torch.manual_seed(0)
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 3, "num_heads": 4, "vocab_size": 96}
    config = T5Config(**sizes, decoder_start_token_id=0, initializer_factor=3.0)
    plain = AutoModelForSeq2SeqLM.from_config(config).eval()
    expected = tokens_of(multi_exit_form(plain, 1, name="acd"), padded())
    assert torch.equal(tokens_of(plain, padded(), custom_generate=contrast("acd", lower=1)), expected)


class NoEvenTokens(LogitsProcessor):
    def __call__(self, input_ids, scores):
        return scores.index_fill(-1, torch.arange(0, scores.shape[-1], 2), -torch.inf)


@pytest.mark.parametrize(
    "options",
    [
        {"repetition_penalty": 1.5, "no_repeat_ngram_size": 2},
        {"logits_processor": [NoEvenTokens()]},
        {"min_new_tokens": 2, "max_length": 9, "max_new_tokens": None, "eos_token_id": list(range(1, 90))},
        {"guidance_scale": 2.0, "negative_prompt_ids": tiny_ids(3, 4)},
        {"use_cache": False},
        {"cache_implementation": "static"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_arguments_of_generate_keep_their_meaning(options):
    plain, inputs = tiny_plain(), padded()
    expected = tokens_of(multi_exit_form(plain, 2, upper=3, name="cd", alpha=0.2), inputs, **options)
    got = tokens_of(plain, inputs, custom_generate=contrast("cd", lower=2, upper=3, alpha=0.2), **options)
    assert torch.equal(got, expected)


def test_a_processor_that_runs_the_model_runs_the_contrast_and_stays_as_it_is():
    plain, options = tiny_plain(), {"guidance_scale": 2.0, "negative_prompt_ids": tiny_ids(3, 4)}
    expected = tokens_of(multi_exit_form(plain, 2, name="acd"), padded(), **options)
    guidance = UnbatchedClassifierFreeGuidanceLogitsProcessor(2.0, plain, tiny_ids(3, 4))
    got = tokens_of(plain, padded(), custom_generate=contrast(lower=2), logits_processor=[guidance])
    assert torch.equal(got, expected) and guidance.model is plain


def test_scores_are_those_of_the_multi_exit_model():
    plain, inputs = tiny_plain(), padded()
    options = {"return_dict_in_generate": True, "output_scores": True}
    expected = tokens_of(multi_exit_form(plain, 2, name="acd"), inputs, **options)
    got = tokens_of(plain, inputs, custom_generate=contrast(lower=2), **options)
    torch.testing.assert_close(got.scores, expected.scores)


class Collected(BaseStreamer):
    def __init__(self):
        self.tokens, self.ended = [], False

    def put(self, value):
        self.tokens += value.flatten().tolist()

    def end(self):
        self.ended = True


def test_a_streamer_gets_every_token():
    streamer, inputs = Collected(), {"input_ids": tiny_ids(1)}
    got = tokens_of(tiny_plain(), inputs, custom_generate=contrast("dola", layers="all"), streamer=streamer)
    assert streamer.tokens == got.flatten().tolist() and streamer.ended


def everything(model):
    """What a user could see of a model: its modules, their attributes and hooks, its configuration."""
    modules = [(name, type(module), sorted(vars(module))) for name, module in model.named_modules()]
    hooks = [dict(value) for module in model.modules() for key, value in vars(module).items() if key.endswith("_hooks")]
    tensors = {name: (id(tensor), tensor.clone()) for name, tensor in model.state_dict(keep_vars=True).items()}
    return modules, hooks, model.config.to_dict(), model.generation_config.to_dict(), tensors


def test_the_model_stays_as_it_is_and_its_weights_are_not_copied(monkeypatch):
    plain, seen = tiny_plain(), []
    set_exits = multi_exit.MultiExitModel.set_exits
    monkeypatch.setattr(
        multi_exit.MultiExitModel, "set_exits", lambda self, *given: (seen.append(self), set_exits(self, *given))
    )
    *before, tensors = everything(plain)
    alone = tokens_of(plain, padded())
    tokens_of(plain, padded(), custom_generate=contrast(lower=2))
    *after, same = everything(plain)
    assert after == before and torch.equal(tokens_of(plain, padded()), alone)
    assert all(same[name][0] == here and torch.equal(same[name][1], value) for name, (here, value) in tensors.items())
    (with_exits,) = seen
    theirs, ours = ([*model.parameters(), *model.buffers()] for model in (with_exits, plain))
    assert len(ours) == len(theirs) and all(one is other for one, other in zip(theirs, ours, strict=True))


def test_the_parts_are_found_once(monkeypatch):
    plain, found = tiny_plain(), []
    find = multi_exit.find_anatomy
    monkeypatch.setattr(multi_exit, "find_anatomy", lambda model: found.append(model) or find(model))
    for method in (contrast(lower=2), contrast("dola", layers="all"), contrast(lower=1)):
        tokens_of(plain, padded(), custom_generate=method)
    assert len(found) == 1
    del plain.transformer.h[3]  # another structure
    expected = tokens_of(multi_exit_form(plain, 1, name="acd"), padded())
    found.clear()
    assert torch.equal(tokens_of(plain, padded(), custom_generate=contrast(lower=1)), expected)
    assert len(found) == 1


def test_later_changes_of_the_model_count():
    plain, acd = tiny_plain(), contrast(lower=2)
    before = tokens_of(plain, padded(), custom_generate=acd)
    for change in (
        lambda: plain.transformer.h[1].register_forward_hook(lambda block, inputs, output: output * 1.5),
        lambda: plain.transformer.ln_f.register_parameter("weight", nn.Parameter(torch.randn(32))),
        lambda: plain.lm_head.weight.data.copy_(torch.randn(96, 32)),
    ):
        change()
        after = tokens_of(plain, padded(), custom_generate=acd)
        assert not torch.equal(after, before)
        assert torch.equal(after, tokens_of(multi_exit_form(plain, 2, name="acd"), padded()))
        before = after


def test_adapters():
    plain, acd = tiny_plain(), contrast(lower=2)
    alone = tokens_of(plain, padded(), custom_generate=acd)
    adapted = get_peft_model(plain, LoraConfig(target_modules=["c_attn"], init_lora_weights=False, fan_in_fan_out=True))
    expected = tokens_of(multi_exit_form(adapted.base_model.model, 2, name="acd"), padded())
    assert not torch.equal(expected, alone)
    assert torch.equal(tokens_of(adapted, padded(), custom_generate=acd), expected)
    with adapted.disable_adapter():
        assert torch.equal(tokens_of(adapted, padded(), custom_generate=acd), alone)


def test_offloaded_weights():
    plain = tiny_plain("llama")
    expected = tokens_of(plain, padded(), custom_generate=contrast(lower=2))
    cpu_offload(plain, execution_device=torch.device("cpu"))
    assert plain.lm_head.weight.is_meta
    assert torch.equal(tokens_of(plain, padded(), custom_generate=contrast(lower=2)), expected)


def test_a_multi_exit_model_is_read_through_its_own_exits():
    model = tiny_model(MODES[1])
    with model.set_exits(contrast_layer_indices=("original", 2)):
        expected = tokens_of(model, padded())
    before = tokens_of(model, padded())
    assert torch.equal(tokens_of(model, padded(), custom_generate=contrast(lower=2)), expected)
    assert torch.equal(tokens_of(model, padded()), before)


def half(upper_logits, lower_logits, share=0.5):
    return (upper_logits + share * (upper_logits - lower_logits)).log_softmax(-1)


def test_a_function_of_your_own_takes_its_parameters():
    plain, inputs = tiny_plain(), padded()
    path = f"{__name__}:half"
    expected = tokens_of(multi_exit_form(plain, 2, name=path, share=2.0), inputs)
    for method in (contrast(half, lower=2, share=2.0), contrast(path, lower=2, share=2.0)):
        assert torch.equal(tokens_of(plain, inputs, custom_generate=method), expected)
    assert not torch.equal(tokens_of(plain, inputs, custom_generate=contrast(half, lower=2)), expected)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("dolla",), "did you mean dola"),
        (("dola", {"layer": "high"}), "has no parameter 'layer'.*did you mean layers"),
        (("acd", {"alpha": 2, "lower": 1}), "alpha of acd must be"),
        ((half, {"shape": 1, "lower": 1}), "no parameter 'shape'"),
        (({"name": "acd"}, {"alpha": 0.2, "lower": 1}), "has its parameters already"),
        (("acd",), "acd needs a lower layer: give lower="),
        (("dola", {"layers": "high", "lower": 1}), "names its layers itself here; leave out lower=1"),
        (("acd", {"lower": 0}), "numbered from 1"),
        (("acd", {"lower": 9}), "no exit 9"),
        (("acd", {"lower": 2, "upper": 2}), "the lower exit 2 is the upper exit 2"),
        (("dola", {"layers": [3], "upper": 2}), "must lie below the upper exit 2"),
        (("dola", {"layers": [1, 7]}), "no exit 7"),
    ],
)
def test_wrong_names_parameters_and_layers_are_named(given, message):
    method, parameters = (*given, {})[:2]
    with pytest.raises(InputError, match=message):
        tokens_of(tiny_plain(), padded(), custom_generate=contrast(method, **parameters))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"assistant_model": tiny_plain()}, "assisted_generation can't be contrasted"),
        ({"prompt_lookup_num_tokens": 2}, "assisted_generation can't be contrasted"),
        ({"penalty_alpha": 0.6, "top_k": 4}, "contrastive_search can't be contrasted"),
        ({"streamer": Collected(), "num_beams": 2}, "a streamer needs num_beams=1"),
    ],
)
def test_ways_of_decoding_that_do_not_fit_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        tokens_of(tiny_plain(), {"input_ids": tiny_ids(1)}, custom_generate=contrast(lower=1), **options)


def test_a_model_without_the_parts_is_refused_and_stays_as_it_is():
    plain = tiny_plain()
    plain.transformer.h = nn.ModuleList([*plain.transformer.h[:3], plain.transformer.h[2]])
    before = everything(plain)[:4]
    with pytest.raises(InputError, match="GPT2LMHeadModel can't be given exits"):
        tokens_of(plain, padded(), custom_generate=contrast(lower=1))
    assert everything(plain)[:4] == before
