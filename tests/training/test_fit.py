"""Training start to end on a tiny model: what it learns, that a kill changes nothing, how it fails."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import build_model, settings, texts

from autocontrastive_gen.foundation.processes import Processes
from autocontrastive_gen.training import states
from autocontrastive_gen.training.exits import Exits
from autocontrastive_gen.training.fit import fit_exits
from autocontrastive_gen.training.loop import Loop
from autocontrastive_gen.training.quality import pooled_perplexity

VALIDATION = {"one": texts(8, seed=1), "two": texts(8, seed=2)}


def fit(folder, tokenizer, mode="SHARED_PROJECTION_CAST_OUTPUTS", model=None, **changes):
    folder.mkdir(exist_ok=True)
    model = model or build_model(mode)
    options = {"tokens": 2400, "seed": 7, "folder": folder}
    return model, fit_exits(model, tokenizer, texts, VALIDATION, settings(**changes), **options)


def perplexity(fitted, layer="2"):
    return fitted.quality["one"][layer]["perplexity"]


def test_each_method_improves_on_the_one_before(tmp_path, tokenizer):
    untrained = fit(tmp_path / "0", tokenizer, method="none")[1]
    squares = fit(tmp_path / "1", tokenizer, method="least-squares")[1]
    learned = fit(tmp_path / "2", tokenizer, method="cross-entropy", epochs=3)[1]
    assert perplexity(learned) < perplexity(squares) < perplexity(untrained)
    assert untrained.curve == [] and squares.curve == []
    assert squares.quality["one"]["original"] == untrained.quality["one"]["original"]
    assert squares.quality["one"]["original"]["agreement"] == 1.0


def test_distillation_lowers_its_loss_for_every_exit_and_leaves_the_trunk_alone(tmp_path, tokenizer):
    before = {name: x.clone() for name, x in build_model().named_parameters() if "conv_matrix" not in name}
    model, fitted = fit(tmp_path / "a", tokenizer, epochs=4, sampled_softmax=None)
    for layer in (1, 2, 3):
        losses = [row["loss"] for row in fitted.curve if row["layer"] == layer]
        assert losses[-1] < losses[0]
    for name, value in before.items():
        assert torch.equal(model.get_parameter(name), value), name


def test_a_cpu_without_bfloat16_instructions_trains_in_float32(tmp_path, tokenizer, monkeypatch):
    changes = {"method": "cross-entropy", "sampled_softmax": None}
    exact = fit(tmp_path / "0", tokenizer, bf16=False, **changes)[1]
    for fast in (True, False):
        monkeypatch.setattr("autocontrastive_gen.training.fit.multiplies_bfloat16", lambda device, fast=fast: fast)
        fitted = fit(tmp_path / str(1 + fast), tokenizer, bf16=True, **changes)[1]
        assert (fitted == exact) is not fast


@pytest.mark.parametrize("start", ["cast", "copy", "random"])
def test_layer_specific_heads_start_as_asked(tmp_path, tokenizer, start):
    changes = {"start": start, "method": "cross-entropy", "learning_rate": 1e-9, "sampled_softmax": None}
    model, fitted = fit(tmp_path / "a", tokenizer, "LAYER_SPECIFIC_PROJECTION", **changes)
    head, weight = model.exit_head("original").weight, model.exit_head(2).weight
    if start == "copy":
        torch.testing.assert_close(weight, head, atol=1e-5, rtol=0)
    elif start == "cast":
        cast_model, cast = fit(tmp_path / "b", tokenizer, method="least-squares")
        torch.testing.assert_close(weight, head @ cast_model.exit_head(2).cast.weight, atol=1e-4, rtol=0)
        assert perplexity(fitted) == pytest.approx(perplexity(cast), rel=1e-3)
    else:
        assert weight.std().item() == pytest.approx(model.config.initializer_range, rel=0.1)


def test_casts_from_text_that_the_model_writes(tmp_path, tokenizer):
    cast = {"damping": 0.001, "tokens": 1, "text": "generated", "texts": 100, "vectors_per_text": 4}
    untrained = fit(tmp_path / "0", tokenizer, method="none")[1]
    fitted = fit(tmp_path / "1", tokenizer, method="least-squares", cast=cast)[1]
    assert perplexity(fitted) < perplexity(untrained)
    assert fit(tmp_path / "2", tokenizer, method="least-squares", cast=cast)[1] == fitted
    longer = fit(tmp_path / "3", tokenizer, cast=cast)[1]
    assert longer.curve and longer.digests != fitted.digests


def test_direct_exits_are_measured_and_have_nothing_to_train(tmp_path, tokenizer):
    _, fitted = fit(tmp_path / "a", tokenizer, "SHARED_PROJECTION_DIRECT")
    assert fitted.curve == [] and set(fitted.quality["two"]) == {"original", "1", "2", "3"}
    assert len(set(fitted.digests.values())) == 1


@pytest.mark.parametrize("cached", [True, False])
def test_an_interrupted_run_ends_in_the_same_bits(tmp_path, tokenizer, cached, monkeypatch):
    changes = {"epochs": 2, "cache_states": cached, "microbatch_size": 2, "patience": 50}
    whole, fitted = fit(tmp_path / "whole", tokenizer, **changes)
    step = Loop.take_step

    def interrupted(self):
        if self.step == 13:
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(Loop, "take_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "cut", tokenizer, **changes)
    monkeypatch.setattr(Loop, "take_step", step)
    resumed, again = fit(tmp_path / "cut", tokenizer, **changes)
    assert again == fitted
    for layer in (1, 2, 3):
        assert torch.equal(whole.exit_head(layer).cast.weight, resumed.exit_head(layer).cast.weight)


def test_calls_may_share_the_states_of_the_trunk(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr(states, "TOKENS_AT_ONCE", 64)
    passes = []

    def trained(mode, tokens, keep):
        model = build_model(mode)
        model.model.register_forward_hook(lambda *_: passes.append(tokens))
        fitted = fit_exits(model, tokenizer, texts, VALIDATION, settings(), tokens=tokens, seed=7, trunk_states=keep)
        return fitted, {layer: model.exit_head(layer).cast.weight.clone() for layer in (1, 2)}

    cast = "SHARED_PROJECTION_CAST_OUTPUTS"
    alone, weights = trained(cast, 1200, None)
    trained(cast, 2400, tmp_path)
    del passes[:]
    shared, same = trained(cast, 1200, tmp_path)
    assert len(passes) <= 1, "the last pass of the shorter text may be one of its own"
    assert shared == alone and all(torch.equal(weights[layer], same[layer]) for layer in weights)


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from pathlib import Path
import test_fit, tiny
from autocontrastive_gen.training import loop, states
states.TOKENS_AT_ONCE, states.RECORD_SECONDS = 64, 0


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def in_trunk():
    record = states.Progress.record
    def killed(self, done):
        record(self, done)
        if done == 9: kill()
    states.Progress.record = killed


def at_step(number):
    step = loop.Loop.take_step
    def killed(self):
        if self.step == number: kill()
        return step(self)
    loop.Loop.take_step = killed


def in_checkpoint(number):
    save = loop.Loop._save
    def half_written(tensors, path, metadata):
        Path(path).write_bytes(b"half")
        kill()
    def killed(self):
        if self.step == number: loop.save_file = half_written
        save(self)
    loop.Loop._save = killed


def after_checkpoint(number):
    save = loop.Loop._save
    def killed(self):
        save(self)
        if self.step == number: kill()
    loop.Loop._save = killed


def end(folder, fault=lambda: None):
    '"How a run ends, in a process of its own: (signal or 0, what it printed)."'
    read, write = os.pipe()
    if not os.fork():
        fault()
        model, fitted = test_fit.fit(Path(folder), tiny.WordTokenizer(), epochs=2)
        os.write(write, repr((sorted(fitted.digests.items()), fitted.curve)).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        printed = pipe.read()
    return os.waitstatus_to_exitcode(os.wait()[1]), printed


whole = end(sys.argv[1] + "/whole")
assert whole[0] == 0 and "curve" not in whole[1] and len(whole[1]) > 1000, whole
faults = [
    in_trunk, lambda: at_step(0), lambda: at_step(3), lambda: in_checkpoint(5), lambda: at_step(17),
    lambda: in_checkpoint(40), lambda: after_checkpoint(45), lambda: at_step(73), lambda: in_checkpoint(74),
]
for fault in faults:
    assert end(sys.argv[1] + "/cut", fault) == (-signal.SIGKILL, ""), fault
assert end(sys.argv[1] + "/cut") == whole
"""


@pytest.mark.slow
def test_sigkill_changes_no_bit_and_no_loss_wherever_it_strikes(tmp_path):
    code = KILLED.format(tests=str(Path(__file__).parent))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


def test_loss_that_is_not_finite_names_exit_and_step_and_keeps_the_state(tmp_path, tokenizer, monkeypatch):
    losses = Loop._losses

    def broken(self, *args):
        for layer, loss in zip(self.exits.weights, losses(self, *args), strict=True):
            yield loss * float("nan") if layer == 2 and self.step == 8 else loss

    monkeypatch.setattr(Loop, "_losses", broken)
    message = r"exit 2, step 8: the loss is nan.* the state after step 5 is kept in .*checkpoint.safetensors"
    with pytest.raises(ValueError, match=message):
        fit(tmp_path / "a", tokenizer)
    assert list((tmp_path / "a").glob("checkpoint.safetensors.*"))


def test_too_little_text_and_a_foreign_tokenizer_are_refused(tmp_path, tokenizer):
    options = {"tokens": 40, "seed": 7}
    with pytest.raises(ValueError, match=r"2 blocks of 16 tokens are fewer than batch_size = 4"):
        (tmp_path / "a").mkdir()
        fit_exits(build_model(), tokenizer, texts, VALIDATION, settings(), **options, folder=tmp_path / "a")
    with pytest.raises(ValueError, match="vocabulary ends at 11; take the tokenizer that belongs"):
        fit(tmp_path / "b", tokenizer, model=build_model(vocab_size=12))
    with pytest.raises(ValueError, match="validation text of one: less than one block"):
        fit_exits(build_model(), tokenizer, texts, {"one": ["cat"]}, settings(), **options, folder=tmp_path / "a")


def test_memory_that_ends_says_what_to_lower(tmp_path, tokenizer, monkeypatch):
    def hungry(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 10 bytes")

    monkeypatch.setattr(Loop, "take_step", hungry)
    with pytest.raises(ValueError, match="out of memory .* lower microbatch_size = 2"):
        fit(tmp_path / "a", tokenizer, microbatch_size=2)


def test_early_stop_returns_the_best_weights(tmp_path, tokenizer):
    changes = {"learning_rate": 9.0, "warmup_steps": 1000, "epochs": 8, "evaluate_every": 1, "patience": 2}
    _, fitted = fit(tmp_path / "a", tokenizer, **changes)
    measured: dict[int, float] = {}
    for row in fitted.curve:
        measured[row["step"]] = measured.get(row["step"], 0.0) + math.log(row["validation_perplexity"])
    best = min(measured, key=measured.get)
    assert 1 < best == max(measured) - 2
    kept = sum(math.log(pooled_perplexity(fitted.quality, layer)) for layer in (1, 2, 3))
    assert kept == pytest.approx(measured[best], rel=1e-6)


def test_trunk_dropout_needs_a_trunk_that_runs_each_time(tmp_path, tokenizer):
    with pytest.raises(ValueError, match="cache_states"):
        fit(tmp_path / "a", tokenizer, trunk_dropout=True)


def test_trunk_dropout_changes_states_in_training_only(tmp_path, tokenizer):
    model = build_model(attention_dropout=0.5)
    _, fitted = fit(tmp_path / "a", tokenizer, model=model, trunk_dropout=True, cache_states=False)
    _, plain = fit(tmp_path / "b", tokenizer, model=build_model(attention_dropout=0.5), cache_states=False)
    assert fitted.curve != plain.curve
    assert fitted.quality["one"]["original"] == plain.quality["one"]["original"]
    assert not model.training


def test_defaults_hold_out_a_part_and_train_on_the_rest(tokenizer):
    model = build_model()
    fitted = fit_exits(model, tokenizer, iter(texts()), block_size=16)
    assert set(fitted.quality) == {"held-out"} and fitted.curve
    everything = sum(1 + len(text.split()) for text in texts())
    tested = fitted.quality["held-out"]["2"]["tokens"] / 15 * 16
    assert 0.8 * everything < fitted.tokens < 0.95 * everything
    assert fitted.tokens + tested <= everything
    again = fit_exits(build_model(), tokenizer, texts, block_size=16)
    assert again == fitted
    other = fit_exits(build_model(), tokenizer, texts, block_size=16, seed=1)
    assert (
        other.digests != fitted.digests
        and other.quality["held-out"]["original"] == fitted.quality["held-out"]["original"]
    )


def test_settings_may_be_an_object_a_mapping_or_fields(tokenizer):
    changes = {"method": "least-squares", "block_size": 16}
    fitted = [
        fit_exits(build_model(), tokenizer, texts, VALIDATION["one"], settings(**changes)),
        fit_exits(build_model(), tokenizer, texts, VALIDATION["one"], {**settings().as_dict(), **changes}),
        fit_exits(build_model(), tokenizer, texts, VALIDATION["one"], settings(), **changes),
    ]
    assert fitted[0] == fitted[1] == fitted[2] and set(fitted[0].quality) == {"validation"}
    with pytest.raises(ValueError, match="train has no parameter 'epoch'.*did you mean epochs"):
        fit_exits(build_model(), tokenizer, texts, epoch=2)


def test_a_folder_of_another_run_is_refused(tmp_path, tokenizer):
    fit(tmp_path / "a", tokenizer, method="least-squares")
    with pytest.raises(
        ValueError, match="folder: .* other arguments .method was 'least-squares' and is 'distillation'"
    ):
        fit(tmp_path / "a", tokenizer)
    with pytest.raises(ValueError, match=r"exits was \[1, 2, 3\] and is \[2\]"):
        fit(tmp_path / "a", tokenizer, method="least-squares", model=build_model(exits=(2,)))


def test_models_that_it_cannot_train_are_refused(tokenizer):
    from transformers import GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration

    from autocontrastive_gen import AutoMultiExitModel, MultiExitConfiguration

    plain = GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=8, n_head=2, vocab_size=64, n_positions=32))
    with pytest.raises(ValueError, match="model: GPT2LMHeadModel has no exits to train; give it some"):
        fit_exits(plain, tokenizer, texts)
    casts = MultiExitConfiguration("SHARED_PROJECTION_CAST_OUTPUTS", lm_head_layer_indices=(1,))
    model = AutoMultiExitModel.from_model(plain, casts)
    with pytest.raises(ValueError, match="block_size: 64 is more than the 32 positions of the model"):
        fit_exits(model, tokenizer, texts, block_size=64)
    with pytest.raises(ValueError, match="tokens: 0 must be a whole number of at least 1"):
        fit_exits(model, tokenizer, texts, tokens=0, block_size=16)
    sizes = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_heads": 2, "num_layers": 2, "vocab_size": 64}
    t5 = T5ForConditionalGeneration(T5Config(**sizes, decoder_start_token_id=0))
    with pytest.raises(ValueError, match="encoder-decoder.* use autocontrastive_gen.training.fine_tune"):
        fit_exits(AutoMultiExitModel.from_model(t5, casts), tokenizer, texts)


def test_several_processes_need_one_folder(tokenizer):
    with pytest.raises(ValueError, match="folder: 2 processes need one"):
        fit_exits(build_model(), tokenizer, texts, processes=Processes(world=2))


def test_reading_and_writing_weights_round_trips():
    model = build_model()
    exits = Exits(model)
    exits.start({layer: torch.full((16, 16), float(layer)) for layer in exits.layers}, "cast", torch.Generator())
    exits.write()
    assert torch.equal(Exits(model).weights[3], torch.full((16, 16), 3.0))
    assert exits.digests() == Exits(model).digests() and len(set(exits.digests().values())) == 3


WRONG = [
    ({"tokenizer": None}, "tokenizer: give the model's own"),
    ({"texts": None}, "texts: give an iterable of strings"),
    ({"texts": "one text"}, "texts: give an iterable of strings"),
    ({"texts": [1, 2]}, "texts: item 0 is a int"),
    ({"validation": 7}, "validation texts of validation: give an iterable"),
    ({"settings": 7}, "settings: give TrainSettings or a mapping, got a int"),
    ({"tokens": "9"}, "tokens: '9' must be a whole number"),
    ({"tokens": 9.5}, "tokens: 9.5 must be a whole number"),
    ({"folder": __file__}, "folder: .*File exists"),
    ({"model": None}, "model: NoneType has no exits to train"),
    ({"model": torch.nn.Linear(2, 2)}, "model: Linear has no exits to train"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[message for _, message in WRONG])
def test_arguments_that_are_wrong_are_named(tokenizer, changes, message):
    arguments = {"model": build_model(), "tokenizer": tokenizer, "texts": texts, "settings": settings()} | changes
    with pytest.raises((ValueError, TypeError, OSError), match=message):
        fit_exits(**arguments)
