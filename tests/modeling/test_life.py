"""What users do with a model besides running it: copies, adapters, devices, compilation, training, threads."""

import copy
import io
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from transformers import Trainer, TrainingArguments

from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration
from tests.modeling.conftest import MODES, tiny_ids, tiny_model, tiny_plain


def _logits(model):
    with torch.no_grad():
        return model(tiny_ids()).logits


@pytest.fixture
def model():
    return tiny_model(MODES[1], "llama", contrast_layer_indices=("original", 2))


def test_copies(model):
    expected = _logits(model)
    stream = io.BytesIO()
    torch.save(model, stream)
    stream.seek(0)
    saved = torch.load(stream, weights_only=False)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), saved):
        assert torch.equal(_logits(twin), expected)
        twin.set_exits(output_layer_index=1)
        assert twin.multi_exit_config.output_layer_index == 1


def test_a_shallow_copy_has_its_own_setting(model):
    expected = _logits(model)
    view = copy.copy(model)
    view.set_exits(output_layer_index=1)
    assert view.lm_head is model.lm_head
    assert torch.equal(_logits(model), expected)
    assert not torch.equal(_logits(view), expected)


def test_threads(model):
    views = [model, copy.copy(model), copy.copy(model)]
    for view, fields in zip(views, ({}, {"output_layer_index": 1}, {"contrast_layer_indices": (3, 1)}), strict=True):
        view.set_exits(**fields)
    expected = [_logits(view) for view in views]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(_logits, views * 20))
    assert all(torch.equal(logits, expected[i % 3]) for i, logits in enumerate(found))


def test_a_change_of_setting_never_meets_a_running_forward(model):
    layers = (1, 3)
    expected = [model.set_exits(output_layer_index=layer) and _logits(model) for layer in layers]
    changing = True

    def run(_):
        while changing:
            logits = _logits(model)
            assert any(torch.equal(logits, one) for one in expected)

    with ThreadPoolExecutor(3) as pool:
        running = pool.map(run, range(3))
        for i in range(100):
            model.set_exits(output_layer_index=layers[i % 2])
        changing = False
        assert len(list(running)) == 3


@pytest.mark.parametrize("targets", [["q_proj", "v_proj"], ["q_proj", "lm_head"]])
@pytest.mark.filterwarnings("ignore")
def test_lora(model, targets):
    peft = pytest.importorskip("peft")
    expected = _logits(model)
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=targets, task_type="CAUSAL_LM"))
    torch.testing.assert_close(_logits(adapted), expected)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    moved = _logits(adapted)
    assert not torch.allclose(moved, expected)
    if "lm_head" not in targets:  # a tied output matrix must not be merged
        torch.testing.assert_close(_logits(adapted.merge_and_unload()), moved, atol=1e-4, rtol=1e-4)


def test_device_map_and_offloading(model, tmp_path):
    pytest.importorskip("accelerate")
    model.save_pretrained(tmp_path / "model")
    setting = MultiExitConfiguration(use_original_head=False, contrast_layer_indices=("original", 2))
    offloaded = dict.fromkeys(
        ("model.embed_tokens", "lm_head", "model.norm", "model.rotary_emb", "name_to_conv_matrix"), "cpu"
    )
    offloaded["model.layers"] = "disk"
    for device_map in ("auto", {"": "cpu"}, offloaded):
        again = AutoMultiExitModel.from_pretrained(
            tmp_path / "model", setting, device_map=device_map, offload_folder=tmp_path / "offload"
        )
        torch.testing.assert_close(_logits(again), _logits(model))
        view = copy.copy(again)
        with model.set_exits(output_layer_index=1):
            view.set_exits(output_layer_index=1)
            torch.testing.assert_close(_logits(view), _logits(model))
        torch.testing.assert_close(_logits(again), _logits(model))


def test_accelerate_prepare(model):
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True)
    assert torch.equal(_logits(accelerator.prepare(copy.deepcopy(model))), _logits(model))


@pytest.mark.slow
def test_compile_eager(model):
    compiled = torch.compile(model, backend="eager")
    for fields in ({"contrast_layer_indices": ("original", 2)}, {"output_layer_index": 2}, {}):
        model.set_exits(**fields)
        torch.testing.assert_close(_logits(compiled), _logits(model), atol=1e-5, rtol=1e-5)
    torch.compiler.reset()


@pytest.mark.slow
@pytest.mark.exhaustive
def test_compile_inductor(model):
    compiled = torch.compile(model)
    for fields in ({"contrast_layer_indices": ("original", 2)}, {"output_layer_index": 2}):
        model.set_exits(**fields)
        torch.testing.assert_close(_logits(compiled), _logits(model), atol=1e-4, rtol=1e-4)
    torch.compiler.reset()


@pytest.mark.parametrize("mode", MODES[:2])
def test_trainer_trains_every_exit_and_nothing_else(mode, tmp_path):
    model = tiny_model(mode)
    model.set_exits(freeze_parameters=True)
    before = copy.deepcopy(model.state_dict())
    rows = [{"input_ids": ids, "labels": ids} for ids in tiny_ids(8)]
    arguments = TrainingArguments(
        tmp_path,
        max_steps=2,
        per_device_train_batch_size=4,
        report_to=[],
        use_cpu=True,
        save_steps=2,
        disable_tqdm=True,
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=rows, eval_dataset=rows)
    first = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < first
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {name for name in before if name.startswith("name_to_")}
    assert len(moved) == 3
    again = AutoMultiExitModel.from_pretrained(tmp_path / "checkpoint-2")
    assert again.projection_mode.name == mode
    with model.set_exits(output_layer_index=2), again.set_exits(output_layer_index=2):
        assert torch.equal(_logits(again), _logits(model.eval()))


def test_the_loss_is_the_sum_over_exits_while_they_are_trained():
    model = tiny_model(MODES[1])
    ids = tiny_ids()
    labels = ids.clone()
    labels[0, :4] = -100
    with torch.no_grad():
        states = model.exit_states(ids, layers=model.exit_layers)
        expected = sum(
            torch.nn.functional.cross_entropy(
                model.project_exit(states[layer], layer)[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
            )
            for layer in model.exit_layers
        )
        torch.testing.assert_close(model(ids, labels=labels).loss, expected)  # as `Trainer` evaluates
        with model.set_exits(use_original_head=True):  # chosen, so this is what is evaluated
            output = model(ids, labels=labels)
        of_logits = torch.nn.functional.cross_entropy(output.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        torch.testing.assert_close(output.loss, of_logits)
        assert not torch.isclose(output.loss, expected)
        torch.testing.assert_close(model(ids, labels=labels).loss, expected)  # the setting before is back
    model.train()
    torch.testing.assert_close(model(ids, labels=labels).loss, expected)


def test_t5_trains_its_exits(reference_folder):
    model = AutoMultiExitModel.from_pretrained(
        reference_folder / "t5-layer_specific_projection", MultiExitConfiguration(freeze_parameters=True)
    ).train()
    source, target = tiny_ids() % 64, tiny_ids(3, 5) % 64
    loss = model(input_ids=source, labels=target).loss
    decoder_ids = model.prepare_decoder_input_ids_from_labels(target)
    states = model.exit_states(source, layers=(2, 4, 6), decoder_input_ids=decoder_ids)
    expected = sum(
        torch.nn.functional.cross_entropy(model.project_exit(state, layer).flatten(0, 1), target.flatten())
        for layer, state in states.items()
    )
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == {
        f"name_to_lm_exit_head.lm_head_{layer}.weight" for layer in (2, 4, 6)
    }


def test_exits_for_a_model_that_is_dispatched_already(tmp_path):
    accelerate = pytest.importorskip("accelerate")
    plain = accelerate.dispatch_model(tiny_plain(), device_map={"": "cpu"}, force_hooks=True)
    model = AutoMultiExitModel.from_model(plain, MultiExitConfiguration(MODES[2]))
    expected = AutoMultiExitModel.from_model(tiny_plain(), MultiExitConfiguration(MODES[2]))
    for one in (model, expected):
        one.set_exits(output_layer_index=2)
    assert torch.equal(_logits(model), _logits(expected))


def test_gradients_reach_every_exit_and_a_free_trunk():
    model = tiny_model(MODES[0]).train()
    ids = tiny_ids()
    model(ids, labels=ids).loss.backward()
    assert all(p.grad.abs().sum() > 0 for parameters in model.exit_parameters().values() for p in parameters)
    assert model.transformer.h[0].mlp.c_fc.weight.grad.abs().sum() > 0


@pytest.mark.slow
def test_importing_the_library_imports_no_pipeline():
    code = (
        "import sys, autocontrastive_gen.modeling.auto_model; "
        "print([m for m in ('dvc', 'mlflow', 'lm_eval', 'datasets', 'pandas') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
