"""Lenses of the tuned-lens package as exits, and exits as lenses, against a slow version and the package itself."""

import json

import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM, Trainer, TrainingArguments

from autocontrastive_gen.foundation.errors import FileError, InputError
from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.checkpoint import WrongBaseError
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration
from autocontrastive_gen.modeling.tuned_lens import give_translators, save_tuned_lens, unembedding_hash
from autocontrastive_gen.training.fit import fit_exits
from tests.modeling.conftest import MODES, tiny_ids, tiny_model, tiny_plain

DEPTH, SIZE = 4, 32


@pytest.fixture(params=["gpt2", "llama"])
def family(request):
    return request.param


@pytest.fixture
def lens(family, tmp_path):
    """A folder as ``TunedLens.save`` writes it, with random translators."""
    folder = tmp_path / "lens"
    folder.mkdir()
    torch.manual_seed(7)
    shapes = {"weight": (SIZE, SIZE), "bias": (SIZE,)}
    params = {f"{i}.{name}": torch.randn(shape) * 0.2 for i in range(DEPTH) for name, shape in shapes.items()}
    torch.save(params, folder / "params.pt")
    config = {"base_model_name_or_path": "tiny", "d_model": SIZE, "num_hidden_layers": DEPTH, "bias": True,
              "base_model_revision": None, "unembed_hash": unembedding_hash(tiny_plain(family).lm_head.weight),
              "lens_type": "linear_tuned_lens"}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def _slow(plain, folder, ids, layer):
    """Logits of a lens at a layer: ``unembed(norm(h + W h + b))``, from the plain model's hidden states."""
    params = torch.load(folder / "params.pt", weights_only=True)
    norm = plain.transformer.ln_f if hasattr(plain, "transformer") else plain.model.norm
    state = plain(ids, output_hidden_states=True).hidden_states[layer]
    return plain.lm_head(norm(state + state @ params[f"{layer}.weight"].T + params[f"{layer}.bias"]))


def _with_lens(family, folder):
    return AutoMultiExitModel.from_model(tiny_plain(family), exits=folder)


@torch.no_grad()
def test_exits_have_the_logits_of_the_lens(family, lens, caplog):
    model, plain = _with_lens(family, lens), tiny_plain(family)
    assert model.exit_layers == (1, 2, 3) and model.projection_mode.name == MODES[1]
    assert not caplog.records
    for layer in model.exit_layers:
        expected = _slow(plain, lens, tiny_ids(), layer)
        with model.set_exits(output_layer_index=layer):
            torch.testing.assert_close(model(tiny_ids()).logits, expected, atol=1e-4, rtol=1e-4)
            last = model(tiny_ids(), logits_to_keep=2).logits
            torch.testing.assert_close(last, expected[:, -2:], atol=1e-4, rtol=1e-4)
        states = model.exit_states(tiny_ids(), layers=(layer, DEPTH))
        torch.testing.assert_close(model.project_exit(states[layer], layer), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(model(tiny_ids()).logits, plain(tiny_ids()).logits)


@torch.no_grad()
@pytest.mark.parametrize("pair", [("original", 2), (3, 1), (1, 3)])
def test_they_can_be_contrasted(family, lens, pair):
    model, plain = _with_lens(family, lens), tiny_plain(family)
    upper, lower = (
        plain(tiny_ids()).logits if exit_ == "original" else _slow(plain, lens, tiny_ids(), exit_) for exit_ in pair
    )
    model.set_exits(contrast_layer_indices=pair)
    expected = model.multi_exit_config.contrast_function(upper, lower)
    torch.testing.assert_close(model(tiny_ids()).logits, expected, atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_early_exit_reads_them(family, lens):
    model = _with_lens(family, lens)
    with model.set_exits(output_layer_index=1):
        expected = model(tiny_ids()).logits
    model.set_exits(early_exit=0)
    torch.testing.assert_close(model(tiny_ids()).logits, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("how", ["exits", "checkpoint", "lens"])
def test_they_are_stored_and_come_back(family, lens, how, tmp_path):
    model = _with_lens(family, lens)
    if how == "exits":
        model.save_exits(tmp_path / "exits")
        again = AutoMultiExitModel.from_model(tiny_plain(family), exits=tmp_path / "exits")
    elif how == "checkpoint":
        model.save_pretrained(tmp_path / "model")
        again = AutoMultiExitModel.from_pretrained(tmp_path / "model")
    else:
        save_tuned_lens(model, tmp_path / "again")
        again = _with_lens(family, tmp_path / "again")
        ours, theirs = (torch.load(path / "params.pt", weights_only=True) for path in (tmp_path / "again", lens))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs if not key.startswith("0."))
    for layer in (1, 2, 3):
        with torch.no_grad(), model.set_exits(output_layer_index=layer), again.set_exits(output_layer_index=layer):
            assert torch.equal(again(tiny_ids()).logits, model(tiny_ids()).logits)


def test_exits_trained_here_are_a_lens(tmp_path):
    model = AutoMultiExitModel.from_model(tiny_plain(), MultiExitConfiguration(MODES[2]))
    direct = tiny_model(MODES[2], output_layer_index=2)
    give_translators(model, (2, 3))
    model.freeze_trunk()
    with torch.no_grad(), model.set_exits(output_layer_index=2):  # nothing is translated yet
        torch.testing.assert_close(model(tiny_ids()).logits, direct(tiny_ids()).logits)
    rows = [{"input_ids": ids, "labels": ids} for ids in tiny_ids(8)]
    arguments = TrainingArguments(
        tmp_path, max_steps=4, learning_rate=1e-2, report_to=[], use_cpu=True, disable_tqdm=True, save_strategy="no"
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=rows, eval_dataset=rows)
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < before
    save_tuned_lens(model.eval(), tmp_path / "lens")
    for layer in (2, 3):
        with torch.no_grad(), model.set_exits(output_layer_index=layer):
            expected = _slow(tiny_plain(), tmp_path / "lens", tiny_ids(), layer)
            torch.testing.assert_close(model(tiny_ids()).logits, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("layers", [(), (0, 2), (2, 4), (2, 2), ("2",)])
def test_layers_without_a_translator_are_refused_and_nothing_changes(layers):
    model = tiny_model(MODES[1], output_layer_index=2)
    with torch.no_grad():
        before = model(tiny_ids()).logits
        with pytest.raises(InputError, match="layers: give distinct layers from 1 to 3"):
            give_translators(model, layers)
        assert torch.equal(model(tiny_ids()).logits, before)


def test_direct_exits_are_the_logit_lens(tmp_path):
    save_tuned_lens(tiny_model(MODES[2]), tmp_path)
    assert all(not value.any() for value in torch.load(tmp_path / "params.pt", weights_only=True).values())


@torch.no_grad()
def test_the_package_itself_agrees(family, lens, tmp_path):
    package = pytest.importorskip("tuned_lens")
    plain, model = tiny_plain(family), _with_lens(family, lens)
    theirs = package.TunedLens.from_model_and_pretrained(plain, str(lens))
    save_tuned_lens(model, tmp_path / "ours")
    ours = package.TunedLens.from_model_and_pretrained(plain, str(tmp_path / "ours"))
    states = plain(tiny_ids(), output_hidden_states=True).hidden_states
    assert json.loads((tmp_path / "ours/config.json").read_text())["unembed_hash"] == theirs.config.unembed_hash
    for layer in (1, 2, 3):
        expected = theirs(states[layer], layer)
        torch.testing.assert_close(ours(states[layer], layer), expected)
        with model.set_exits(output_layer_index=layer):
            torch.testing.assert_close(model(tiny_ids()).logits, expected, atol=1e-4, rtol=1e-4)


def test_what_no_lens_can_say_is_refused(tmp_path):
    with pytest.raises(InputError, match="GPT2LMHeadModel has no exits"):
        save_tuned_lens(AutoMultiExitModel.from_model(tiny_plain()), tmp_path / "lens")
    for mode, message in ((MODES[0], "heads of their own"), (MODES[1], "casts follow the final norm")):
        with pytest.raises(InputError, match=message):
            save_tuned_lens(tiny_model(mode), tmp_path / "lens")
    config = Gemma2Config(
        hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
        head_dim=8, vocab_size=96, pad_token_id=0,
    )  # fmt: skip
    capped = AutoMultiExitModel.from_model(Gemma2ForCausalLM(config), MultiExitConfiguration(MODES[2]))
    with pytest.raises(InputError, match="Gemma2ForCausalLM does more than a final norm"):
        save_tuned_lens(capped, tmp_path / "lens")
    assert not (tmp_path / "lens").exists()


@pytest.mark.parametrize("family", ["gpt2"], indirect=True)
def test_other_bases_and_damaged_lenses_are_refused(family, lens, caplog):
    config = json.loads((lens / "config.json").read_text())
    (lens / "config.json").write_text(json.dumps({**config, "d_model": 64}))
    model = tiny_model(MODES[1])
    with pytest.raises(WrongBaseError, match="hidden_size: trained for 64, here 32"):
        model.load_exits(lens)
    (lens / "config.json").write_text(json.dumps({**config, "unembed_hash": "of another matrix"}))
    tiny_model(MODES[1]).load_exits(lens)
    assert "tuned for another output matrix" in caplog.text
    (lens / "config.json").write_text(json.dumps({**config, "lens_type": "affine"}))
    with pytest.raises(FileError, match="lens_type is 'affine'"):
        model.load_exits(lens)
    (lens / "config.json").write_text(json.dumps(config))
    (lens / "params.pt").write_bytes(b"not what torch saves")
    with pytest.raises(FileError, match="no readable tuned lens"):
        model.load_exits(lens)
    assert hasattr(model, "name_to_conv_matrix")  # it keeps its exits


def test_code_in_a_lens_is_not_run(family, lens, tmp_path):
    class Evil:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    torch.save({"1.weight": Evil()}, lens / "params.pt")
    with pytest.raises(FileError, match="no readable tuned lens"):
        _with_lens(family, lens)
    assert not (tmp_path / "ran").exists()


def test_fit_exits_refuses_them(lens, family):
    with pytest.raises(InputError, match="its exits are translators"):
        fit_exits(_with_lens(family, lens), None, ["text"])
