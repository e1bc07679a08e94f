"""Checkpoints: what is written, what is read, what is refused."""

import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from autocontrastive_gen.data.gguf import convert
from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration
from tests.data.test_gguf import write_llama
from tests.modeling.conftest import MODES, tiny_ids, tiny_model, tiny_plain

CONTRAST = {"use_original_head": False, "contrast_layer_indices": ("original", 2)}


def _logits(model):
    with torch.no_grad():
        return model(tiny_ids()).logits


def _load(*args, **kwargs):
    return AutoMultiExitModel.from_pretrained(*args, multi_exit_config=MultiExitConfiguration(**CONTRAST), **kwargs)


@pytest.mark.parametrize("mode", MODES)
def test_save_and_load(mode, tmp_path):
    model = tiny_model(mode, contrast_layer_indices=("original", 2))
    model.save_pretrained(tmp_path)
    again = _load(tmp_path)  # the mode and the exits come from the checkpoint
    assert again.projection_mode.name == mode and again.exit_layers == (1, 2, 3)
    assert torch.equal(_logits(again), _logits(model))
    plain = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(plain) is type(tiny_plain())
    assert torch.equal(_logits(plain), _logits(tiny_plain()))
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["GPT2LMHeadModel"]


def test_names_of_the_reference(tmp_path):
    tiny_model(MODES[0]).save_exits(tmp_path / "heads")
    tiny_model(MODES[1]).save_exits(tmp_path / "casts")
    assert set(load_file(tmp_path / "heads" / "exits.safetensors")) == {
        f"name_to_lm_exit_head.lm_head_{layer}.weight" for layer in (1, 2, 3)
    }
    assert set(load_file(tmp_path / "casts" / "exits.safetensors")) == {
        f"name_to_conv_matrix.{layer}_to_4.weight" for layer in (1, 2, 3)
    }


@pytest.mark.parametrize("mode", MODES)
def test_exits_alone(mode, tmp_path):
    model = tiny_model(mode, contrast_layer_indices=("original", 2))
    model.save_exits(tmp_path / "exits")
    tiny_plain().save_pretrained(tmp_path / "base")
    setting = MultiExitConfiguration(**CONTRAST)
    attached = AutoMultiExitModel.from_model(tiny_plain(), setting, exits=tmp_path / "exits")
    loaded = _load(tmp_path / "base", exits=tmp_path / "exits")
    assert torch.equal(_logits(attached), _logits(model))
    assert torch.equal(_logits(loaded), _logits(model))
    rounded = _load(tmp_path / "base", exits=tmp_path / "exits", dtype=torch.bfloat16)
    assert all(p.dtype == torch.bfloat16 for p in rounded.parameters())


def test_exits_of_another_base_are_refused(tmp_path, caplog):
    tiny_model(MODES[1]).save_exits(tmp_path)
    other = tiny_plain()
    with torch.no_grad():
        other.transformer.wte.weight.mul_(1.1)
    for base, named in ((other, "unembedding"), (tiny_plain(layers=5), "num_layers"), (tiny_plain("llama"), "Llama")):
        with pytest.raises(OSError, match=named):
            AutoMultiExitModel.from_model(base, exits=tmp_path)
    caplog.clear()
    AutoMultiExitModel.from_model(tiny_plain().half(), exits=tmp_path)
    assert "quantised or in float16" in caplog.text
    resized = tiny_plain()
    resized.resize_token_embeddings(100)
    caplog.clear()
    AutoMultiExitModel.from_model(resized, exits=tmp_path)
    assert "resized from 96 to 100" in caplog.text


def test_heads_do_not_fit_a_resized_vocabulary(tmp_path):
    tiny_model(MODES[0]).save_exits(tmp_path)
    resized = tiny_plain()
    resized.resize_token_embeddings(100)
    with pytest.raises(OSError, match="vocab_size|shape"):
        AutoMultiExitModel.from_model(resized, exits=tmp_path)


def test_an_exchanged_trunk_is_refused(tmp_path):
    tiny_model(MODES[1]).save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["transformer.wte.weight"] *= 2
    from safetensors.torch import save_file

    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(OSError, match="unembedding"):
        AutoMultiExitModel.from_pretrained(tmp_path)


def test_the_configuration_may_be_a_path(tmp_path):
    tiny_model(MODES[1]).save_pretrained(tmp_path / "model")
    (tmp_path / "model/config.json").rename(tmp_path / "config.json")
    assert AutoMultiExitModel.from_pretrained(tmp_path / "model", config=tmp_path).exit_layers


def test_damaged_exits_are_refused(tmp_path):
    tiny_model(MODES[1]).save_exits(tmp_path)
    with open(tmp_path / "exits.safetensors", "r+b") as file:
        file.truncate(os.path.getsize(tmp_path / "exits.safetensors") // 2)
    with pytest.raises(OSError, match="no readable exits"):
        AutoMultiExitModel.from_model(tiny_plain(), exits=tmp_path)
    described = (tmp_path / "exits_config.json").read_text()
    for damaged in ("[" * 100_000, "[]", "{", "{}"):
        (tmp_path / "exits_config.json").write_text(damaged)
        with pytest.raises(OSError, match="no readable exits"):
            AutoMultiExitModel.from_model(tiny_plain(), exits=tmp_path)
    (tmp_path / "exits_config.json").write_text(described)
    (tmp_path / "exits.safetensors").unlink()
    with pytest.raises(OSError, match="no file exits.safetensors"):
        AutoMultiExitModel.from_model(tiny_plain(), exits=tmp_path)
    with pytest.raises(OSError, match="exits nowhere/none: no folder of that name.*exits.safetensors"):
        AutoMultiExitModel.from_model(tiny_plain(), exits="nowhere/none")
    broken = tiny_model(MODES[1])
    with torch.no_grad():
        broken.name_to_conv_matrix["2_to_4"].weight[0, 0] = torch.nan
    broken.save_exits(tmp_path)
    with pytest.raises(OSError, match="NaN or infinity"):
        AutoMultiExitModel.from_model(tiny_plain(), exits=tmp_path)


def test_the_mode_of_a_checkpoint_is_not_contradicted(tmp_path):
    tiny_model(MODES[1]).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="the checkpoint's exits are SHARED_PROJECTION_CAST_OUTPUTS"):
        AutoMultiExitModel.from_pretrained(tmp_path, MultiExitConfiguration(MODES[0]))
    direct = AutoMultiExitModel.from_pretrained(tmp_path, MultiExitConfiguration(MODES[2]))
    assert direct.projection_mode.name == MODES[2]


def test_reading_new_exits_is_a_warning(tmp_path, caplog):
    tiny_plain().save_pretrained(tmp_path)
    model = AutoMultiExitModel.from_pretrained(tmp_path, MultiExitConfiguration(MODES[1], (1, 3)))
    assert "untrained" not in caplog.text, "they may be about to be trained"
    read = MultiExitConfiguration(MODES[1], (1, 3), use_original_head=False, output_layer_index=3)
    AutoMultiExitModel.from_pretrained(tmp_path, read)
    assert "2 exits of GPT2LMHeadModel are new and untrained" in caplog.text
    assert all(torch.equal(cast.weight, torch.eye(32)) for cast in model.name_to_conv_matrix.values())
    heads = AutoMultiExitModel.from_pretrained(tmp_path, MultiExitConfiguration(MODES[0], (1,)))
    assert 0.2 < heads.exit_head(1).weight.std() < 0.4  # as the family starts an output matrix


def test_the_form_of_2023(tmp_path, reference_folder):
    source = reference_folder / "gpt2-layer_specific_projection"
    config = json.loads((source / "config.json").read_text())
    config |= {"architectures": ["MultiHeadGPT2"], "lm_head_layer_indices": [6, 4, 2]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    weights = load_file(source / "model.safetensors")
    weights["lm_head.weight"] = weights["transformer.wte.weight"]
    for block in range(6):  # buffers of the transformers of that time
        weights[f"transformer.h.{block}.attn.bias"] = torch.ones(1, 1, 64, 64, dtype=torch.uint8)
        weights[f"transformer.h.{block}.attn.masked_bias"] = torch.tensor(-1e4)
    torch.save(weights, tmp_path / "pytorch_model.bin")
    setting = MultiExitConfiguration(use_original_head=False, contrast_layer_indices=(6, 2))
    old, new = (AutoMultiExitModel.from_pretrained(path, multi_exit_config=setting) for path in (tmp_path, source))
    assert old.exit_layers == (2, 4, 6)
    ids = tiny_ids() % 64
    with torch.no_grad():
        assert torch.equal(old(ids).logits, new(ids).logits)
    assert isinstance(old.generate(ids, max_new_tokens=1, attention_mask=torch.ones_like(ids)), torch.Tensor)


@pytest.mark.parametrize("model_type", ["mystery", "gpt2"])
def test_code_of_a_checkpoint_is_not_run(model_type, tmp_path):
    tiny_plain().save_pretrained(tmp_path)
    (tmp_path / "theirs.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w').close()\n"
        "from transformers import GPT2Config, GPT2LMHeadModel\n"
        "class TheirConfig(GPT2Config):\n    model_type = 'mystery'\n"
        "class TheirModel(GPT2LMHeadModel):\n    config_class = TheirConfig\n"
    )
    auto_map = {"AutoConfig": "theirs.TheirConfig", "AutoModelForCausalLM": "theirs.TheirModel"}
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": model_type, "auto_map": auto_map}))
    remedy = "is not run; use a family of transformers, or load the model yourself"
    with pytest.raises(ValueError, match=remedy):
        AutoMultiExitModel.from_pretrained(tmp_path, trust_remote_code=True)
    if model_type == "mystery":
        with pytest.raises(ValueError, match=remedy):
            AutoMultiExitModel.from_pretrained(tmp_path)
    else:  # a family of transformers: its own class is used
        assert type(AutoMultiExitModel.from_pretrained(tmp_path)).__module__.startswith("transformers.")
    assert not (tmp_path / "ran").exists()


def test_quick_start_of_the_reference(smoke_model_folder, tmp_path):
    shutil.copytree(smoke_model_folder, tmp_path / "model")
    trained = AutoMultiExitModel.from_pretrained(tmp_path / "model", MultiExitConfiguration(MODES[0], (2, 4)))
    trained.save_pretrained(tmp_path / "multi")
    from transformers import AutoTokenizer

    multi_exit_config = MultiExitConfiguration(use_original_head=False, contrast_layer_indices=(4, 2))
    model = AutoMultiExitModel.from_pretrained(tmp_path / "multi", multi_exit_config=multi_exit_config)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    prompt = tokenizer("humpty dumpty sat on", return_tensors="pt")
    generated_ids = model.generate(**prompt, max_new_tokens=15)
    assert tokenizer.batch_decode(generated_ids)[0]


def test_refused_exits_leave_those_that_the_model_has(tmp_path):
    model = tiny_model("SHARED_PROJECTION_CAST_OUTPUTS", "gpt2")
    model.set_exits(output_layer_index=2)
    before = model(tiny_ids()).logits
    model.save_exits(tmp_path)
    state = load_file(tmp_path / "exits.safetensors")
    save_file({name: torch.full_like(x, float("nan")) for name, x in state.items()}, tmp_path / "exits.safetensors")
    with pytest.raises(OSError, match="NaN or infinity"):
        model.load_exits(tmp_path)
    torch.testing.assert_close(model(tiny_ids()).logits, before)


def test_layers_other_than_the_models_are_refused():
    model = tiny_model("SHARED_PROJECTION_CAST_OUTPUTS", "gpt2")
    with pytest.raises(ValueError, match="load the model again"):
        model.set_exits(lm_head_layer_indices=(1, 9))


def test_a_quantised_base_is_a_warning(tmp_path, caplog):
    write_llama(tmp_path / "tiny.gguf", quantised=True)
    convert(tmp_path / "tiny.gguf", tmp_path / "plain")
    new = MultiExitConfiguration(MODES[1], (1,))
    quantised = AutoMultiExitModel.from_pretrained(tmp_path, new, gguf_file="tiny.gguf")
    quantised.save_exits(tmp_path / "of-quantised")
    AutoMultiExitModel.from_pretrained(tmp_path / "plain", new).save_exits(tmp_path / "of-plain")
    setting = MultiExitConfiguration(use_original_head=False, output_layer_index=1)
    for base, exits, warns in (("", "of-plain", True), ("plain", "of-quantised", True), ("plain", "of-plain", False)):
        caplog.clear()
        which = {} if base else {"gguf_file": "tiny.gguf"}
        AutoMultiExitModel.from_pretrained(tmp_path / base, setting, exits=tmp_path / exits, **which)
        assert ("the base is or was quantised" in caplog.text) == warns


def test_quantised_exits_are_not_stored_alone(tmp_path):
    model = tiny_model(MODES[1])
    cast = model.name_to_conv_matrix["2_to_4"]
    cast.weight = torch.nn.Parameter(cast.weight.to(torch.int8), requires_grad=False)
    with pytest.raises(ValueError, match="2_to_4.weight is quantised"):
        model.save_exits(tmp_path)
    assert not any(tmp_path.iterdir())
