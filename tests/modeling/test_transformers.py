"""What transformers does with any language model, done with a multi-exit one."""

import pytest
import torch
from datasets import Dataset
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    QuantoConfig,
    TextIteratorStreamer,
    TextStreamer,
    TorchAoConfig,
    Trainer,
    pipeline,
)

from autocontrastive_gen.foundation.errors import FileError, InputError
from autocontrastive_gen.modeling import over_plausible
from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration
from autocontrastive_gen.modeling.plausible import first_candidates
from tests.modeling.conftest import MODES, tiny_ids, tiny_model, tiny_plain

CONTRAST = {"use_original_head": False, "contrast_layer_indices": ("original", 2)}
CHAT = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}assistant:"
GREEDY = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}


@pytest.fixture(scope="module")
def tokenizer(smoke_model_folder):
    tokenizer = AutoTokenizer.from_pretrained(smoke_model_folder)
    tokenizer.chat_template = CHAT
    return tokenizer


@pytest.fixture
def model(smoke_model_folder):
    setting = MultiExitConfiguration("SHARED_PROJECTION_DIRECT", **CONTRAST)
    return AutoMultiExitModel.from_pretrained(smoke_model_folder, setting)


def _continued(model, tokenizer, text):
    inputs = tokenizer(text, return_tensors="pt")
    return tokenizer.decode(model.generate(**inputs, **GREEDY)[0, inputs["input_ids"].shape[1] :])


def test_a_pipeline_continues_text_and_chats(model, tokenizer):
    generator = pipeline("text-generation", model=model, tokenizer=tokenizer)
    said = generator("humpty dumpty sat", return_full_text=False, **GREEDY)
    assert said[0]["generated_text"] == _continued(model, tokenizer, "humpty dumpty sat")
    messages = [{"role": "user", "content": "who sat on a wall"}]
    answer = generator(messages, **GREEDY)[0]["generated_text"][-1]
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert prompt == "user: who sat on a wall\nassistant:"
    assert answer == {"role": "assistant", "content": _continued(model, tokenizer, prompt)}


def test_streamers_get_the_text(model, tokenizer, capsys):
    inputs = tokenizer("humpty dumpty sat", return_tensors="pt")
    expected = _continued(model, tokenizer, "humpty dumpty sat")
    model.generate(**inputs, **GREEDY, streamer=TextStreamer(tokenizer, skip_prompt=True))
    assert capsys.readouterr().out.strip() == expected.strip()
    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, timeout=60)
    model.generate(**inputs, **GREEDY, streamer=streamer)
    assert "".join(streamer) == expected


def test_overrides_of_the_configuration_pass_through(tmp_path):
    tiny_model(MODES[1]).save_pretrained(tmp_path)
    given = {"attn_pdrop": 0.25, "dtype": "bfloat16", "attn_implementation": "eager", "revision": "main"}
    model = AutoMultiExitModel.from_pretrained(tmp_path, **given)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path, **given)
    for one in (model, plain):
        assert one.config.attn_pdrop == 0.25 and one.transformer.h[0].attn.attn_dropout.p == 0.25
        assert one.dtype == torch.bfloat16 and one.config._attn_implementation == "eager"
    assert model.exit_layers == (1, 2, 3)
    assert not model.config.output_hidden_states
    assert AutoMultiExitModel.from_pretrained(tmp_path, output_hidden_states=True).config.output_hidden_states
    config = AutoConfig.from_pretrained(tmp_path)
    model = AutoMultiExitModel.from_pretrained(tmp_path, config=config, dtype="auto")
    assert model.config.attn_pdrop == 0.0 and model.dtype == torch.float32
    with pytest.raises((TypeError, InputError, FileError), match="attn_pdorp"):
        AutoMultiExitModel.from_pretrained(tmp_path, attn_pdorp=0.0)


@pytest.mark.parametrize("mode", MODES)
def test_a_lower_layer_may_be_contrasted_with_one_above_it(mode):
    model = tiny_model(mode)
    with torch.no_grad():
        states = model.exit_states(tiny_ids(), layers=(1, 3))
        upper, lower = model.project_exit(states[1], 1), model.project_exit(states[3], 3)
        for function in ("acd", "cd", lambda u, low: (u - low).log_softmax(-1)):
            model.set_exits(contrast_layer_indices=(1, 3), contrast_function=function)
            expected = model.multi_exit_config.contrast_function(upper, lower)
            torch.testing.assert_close(model(tiny_ids()).logits, expected, atol=1e-5, rtol=1e-5)
    with pytest.raises(InputError, match="the lower exit 3 is the upper exit 3"):
        model.set_exits(contrast_layer_indices=(3, 3))


SLOW = (
    {"contrast_layer_indices": (3, 1), "contrast_function": "cd"},
    {"contrast_layer_indices": ("original", 1), "contrast_function": "delta"},
    {"contrast_layer_indices": "original", "contrast_function": {"name": "dola", "layers": "all"}},
    {"contrast_layer_indices": "original", "contrast_function": "sled"},
    {"contrast_layer_indices": "original", "contrast_function": {"name": "ensemble", "layers": [1, 3]}},
    {"output_layer_index": 2},
    {},
)
COMPILED = ({"contrast_layer_indices": ("original", 2)}, *(pytest.param(each, marks=pytest.mark.slow) for each in SLOW))


@pytest.mark.parametrize("fields", COMPILED)
def test_compiling_a_forward_breaks_no_graph(fields):
    model = tiny_model(MODES[1], "llama", **fields)
    compiled = torch.compile(model, backend="eager", fullgraph=True)  # raises at a break
    try:
        with torch.no_grad():
            for kept in (0, 1):
                got = compiled(tiny_ids(), logits_to_keep=kept).logits
                torch.testing.assert_close(got, model(tiny_ids(), logits_to_keep=kept).logits)
    finally:
        torch.compiler.reset()


@pytest.mark.parametrize(("alpha", "overflows"), [(0.1, True), (0.97, False)])
@pytest.mark.parametrize("name", ["acd", "cd"])
def test_a_compiled_contrast_reads_few_tokens_of_the_lower_exit_unless_more_are_plausible(
    name, alpha, overflows, monkeypatch
):
    monkeypatch.setattr(over_plausible, "COMPILED_WIDTH", 8)
    contrast = {"name": name, "alpha": alpha}
    model = tiny_model(MODES[1], "llama", contrast_layer_indices=("original", 2), contrast_function=contrast)
    graphs = []

    def keep(graph, inputs):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(model, backend=keep, fullgraph=True)
    try:
        with torch.no_grad():
            torch.testing.assert_close(compiled(tiny_ids()).logits, model(tiny_ids()).logits)
            upper = model.project_exit(model.exit_states(tiny_ids(), layers=(4,))[4], "original").flatten(0, 1)
    finally:
        torch.compiler.reset()
    assert bool(first_candidates(upper, alpha, 1, 8).mask[:, -1].any()) is overflows
    whole, few = (branch.code for name, branch in graphs[-1].named_children() if name.startswith("cond_"))
    assert "bmm(" in few and (few.count("linear("), whole.count("linear(")) == (1, 2), "the cast, and the output matrix"


def test_generation_with_contrast_compiles_without_a_break(monkeypatch):
    monkeypatch.setattr(over_plausible, "COMPILED_WIDTH", 8)
    model = tiny_model(MODES[1], "llama", contrast_layer_indices=("original", 2))
    options = {"max_new_tokens": 5, "do_sample": False, "cache_implementation": "static"}
    expected = model.generate(tiny_ids(), **options)
    model.forward = torch.compile(model.forward, backend="eager", fullgraph=True)
    try:
        assert torch.equal(model.generate(tiny_ids(), **options), expected)
    finally:
        torch.compiler.reset()


def test_early_exit_is_left_uncompiled():
    model = tiny_model(MODES[1], "llama", early_exit=0.5)
    compiled = torch.compile(model, backend="eager")
    try:
        with torch.no_grad():
            torch.testing.assert_close(compiled(tiny_ids()).logits, model(tiny_ids()).logits)
            assert len(model.tokens_per_layer) > 1
    finally:
        torch.compiler.reset()


class Quantised(torch.Tensor):
    """A weight that a library has packed: it multiplies, and knows nothing of its extremes."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func.__name__ == "aminmax":
            raise NotImplementedError
        return super().__torch_function__(func, types, args, kwargs or {})


@torch.no_grad()
def test_exits_for_weights_of_another_kind_of_tensor():
    plain = tiny_plain("llama")
    expected = plain(tiny_ids()).logits
    projection = plain.model.layers[0].self_attn.q_proj
    projection.weight = torch.nn.Parameter(projection.weight.as_subclass(Quantised), requires_grad=False)
    model = AutoMultiExitModel.from_model(plain, MultiExitConfiguration(MODES[2]))
    torch.testing.assert_close(model(tiny_ids()).logits.as_subclass(torch.Tensor), expected)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("backend", ["torchao", "optimum.quanto"])
def test_weights_of_eight_bits(mode, backend, tmp_path):
    pytest.importorskip(backend)
    model = tiny_model(mode, "llama")
    model.save_pretrained(tmp_path)
    if backend == "torchao":
        from torchao.quantization import Int8WeightOnlyConfig

        quantised = TorchAoConfig(Int8WeightOnlyConfig())
    else:
        quantised = QuantoConfig(weights="int8")
    again = AutoMultiExitModel.from_pretrained(tmp_path, quantization_config=quantised)
    for fields in ({}, {"output_layer_index": 2}, {"contrast_layer_indices": ("original", 2)}):
        with torch.no_grad(), model.set_exits(**fields), again.set_exits(**fields):
            expected, got = model(tiny_ids()).logits.log_softmax(-1), again(tiny_ids()).logits.log_softmax(-1)
            divergence = (expected.exp() * (expected - got)).sum(-1)
            assert 0 < divergence.median() < 0.05
            assert again.generate(tiny_ids(1), max_new_tokens=4, do_sample=False).shape[1] > tiny_ids(1).shape[1]
    if mode != MODES[2]:
        with pytest.raises(InputError, match="is quantised, offloaded or sharded"):
            again.save_exits(tmp_path / "exits")


def test_trls_data_and_our_loss(smoke_model_folder, tokenizer, tmp_path):
    trl = pytest.importorskip("trl")

    class ExitTrainer(trl.SFTTrainer):
        compute_loss = Trainer.compute_loss

    setting = MultiExitConfiguration(MODES[1], (2, 4), freeze_parameters=True)
    model = AutoMultiExitModel.from_pretrained(smoke_model_folder, setting)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rows = Dataset.from_list([{"prompt": "humpty dumpty", "completion": " sat on a wall"}] * 8)
    arguments = trl.SFTConfig(
        tmp_path, max_steps=3, learning_rate=1e-2, report_to=[], use_cpu=True, bf16=False, disable_tqdm=True
    )
    tokenizer.pad_token = tokenizer.eos_token
    trainer = ExitTrainer(
        model=model, args=arguments, train_dataset=rows, eval_dataset=rows, processing_class=tokenizer
    )
    first = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < first
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {f"name_to_conv_matrix.{layer}_to_6.weight" for layer in (2, 4)}
