"""Checkpoints that are damaged or do not fit their configuration: the message names file or tensor, and the cause."""

import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from autocontrastive_gen.foundation.errors import UserError
from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration

SOURCE = Path(__file__).parents[1] / "fixtures" / "smoke" / "model"
WEIGHTS, PICKLED, INDEX = "model.safetensors", "pytorch_model.bin", "model.safetensors.index.json"
TENSOR = "transformer.h.3.mlp.c_fc.weight"
CASTS = MultiExitConfiguration("SHARED_PROJECTION_CAST_OUTPUTS", (2, 4))


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(SOURCE, tmp_path / "model"))


def tensors(**changes):
    """An edit of the tensors: a value of None takes one out."""

    def edit(folder):
        state = load_file(folder / WEIGHTS) | {name.replace("__", "."): value for name, value in changes.items()}
        state = {name: value.contiguous() for name, value in state.items() if value is not None}
        save_file(state, folder / WEIGHTS, metadata={"format": "pt"})

    return edit


def config(**changes):
    def edit(folder):
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return edit


def content(data: bytes, name: str = WEIGHTS):
    """An edit that leaves one file of weights, with this content."""

    def edit(folder):
        (folder / WEIGHTS).unlink()
        (folder / name).write_bytes(data)

    return edit


def saved(value):
    """An edit that leaves one file of PyTorch, with this value."""

    def edit(folder):
        (folder / WEIGHTS).unlink()
        torch.save(value, folder / PICKLED)

    return edit


def cut(size: int):
    return lambda folder: os.truncate(folder / WEIGHTS, size % (folder / WEIGHTS).stat().st_size)


class Command:
    """Would run a command if it was unpickled."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1234\n"
NEEDS = "the model needs {}.*, which no file holds"
CASES = {
    "a tensor is missing": (tensors(transformer__h__3__mlp__c_fc__weight=None), NEEDS.format(TENSOR)),
    "the embeddings are missing": (tensors(transformer__wte__weight=None), NEEDS.format("lm_head.weight")),
    "the final norm is missing": (tensors(transformer__ln_f__weight=None), NEEDS.format("transformer.ln_f.weight")),
    "a tensor is too many": (tensors(strange=torch.ones(3)), "hold strange, for which the model has no place"),
    "a tensor is misshapen": (
        tensors(transformer__h__3__mlp__c_fc__weight=torch.ones(3, 3)),
        rf"{TENSOR} has shape \(3, 3\), but must have \(32, 128\)",
    ),
    "a weight is NaN": (
        tensors(transformer__h__3__mlp__c_fc__weight=torch.full((32, 128), torch.nan)),
        f"{TENSOR} holds NaN or infinity",
    ),
    "a weight is infinite": (
        tensors(transformer__wte__weight=torch.full((512, 32), torch.inf)),
        "transformer.wte.weight holds NaN or infinity",
    ),
    "more layers in the configuration": (config(n_layer=8), NEEDS.format("transformer.h.6") + "|21 more"),
    "fewer layers in the configuration": (config(n_layer=5), "the files hold transformer.h.5"),
    "another vocabulary in the configuration": (config(vocab_size=5), r"must have \(5, 32\)"),
    "an unknown mode": (
        config(vocab_projection_mode="SHARED"),
        "vocab_projection_mode is 'SHARED', but must be one of",
    ),
    "a mode of another type": (config(vocab_projection_mode=7), "vocab_projection_mode is 7, but must be one of"),
    "exits that are no list": (config(lm_head_layer_indices="2"), "lm_head_layer_indices is '2', but must be a list"),
    "a field of another type": (config(n_layer="six"), "n_layer"),
    "a width that is negative": (
        config(n_embd=-1),
        "describe no model that transformers can make .*negative dimension",
    ),
    "no attention heads": (config(n_head=0), "describe no model .*ZeroDivisionError"),
    "an activation that does not exist": (config(activation_function="six"), "describe no model .*KeyError: 'six'"),
    "a type of numbers that does not exist": (config(dtype="six"), "config.json cannot be read: .*no attribute 'six'"),
    "quantised in an unknown way": (config(quantization_config=1), "its config.json cannot be read"),
    "a base that is no mapping": (config(multi_exit_base="gpt2"), "multi_exit_base is 'gpt2', but must be a mapping"),
    "a configuration nested deeply": (
        lambda folder: (folder / "config.json").write_text("[" * 100_000),
        "model: its config.json cannot be read",
    ),
    "cut in the header": (cut(1000), f"{WEIGHTS}: .*cut short: its header alone"),
    "cut in a tensor": (cut(-100), f"{WEIGHTS}: .*cut short: its header speaks of"),
    "empty": (cut(0), f"{WEIGHTS}: .*it is empty"),
    "noise": (content(bytes(range(7, 256))), f"{WEIGHTS}: .*does not begin like safetensors"),
    "a web page": (content(b"<!DOCTYPE html>"), f"{WEIGHTS}: .*web page"),
    "a pointer of Git LFS": (content(LFS), f"{WEIGHTS}: .*Git LFS.*git lfs pull"),
    "pickled, empty": (content(b"", PICKLED), f"{PICKLED}: .*it is empty"),
    "pickled, a web page": (content(b"<html>", PICKLED), f"{PICKLED}: .*web page"),
    "pickled, a pointer": (content(LFS, PICKLED), f"{PICKLED}: .*Git LFS"),
    "pickled, noise": (content(bytes(range(7, 256)), PICKLED), f"{PICKLED}: .*not a file of PyTorch"),
    "pickled, cut": (content(b"PK\3\4" + bytes(99), PICKLED), f"{PICKLED}: .*cut short"),
    "pickled, with code": (content(pickle.dumps(Command(), 2), PICKLED), "more than tensors, and such code is not run"),
    "pickled, code among tensors": (saved({"a": Command()}), "more than tensors, and such code is not run"),
    "pickled, a list": (saved([torch.ones(2)]), "describe no model that transformers can make"),
    "pickled, text": (saved({"transformer.wte.weight": "text"}), "describe no model that transformers can make"),
    "an index that is a web page": (content(b"<html>", INDEX), f"{INDEX}: .*web page"),
    "an index of a file that is missing": (
        content(json.dumps({"metadata": {}, "weight_map": {TENSOR: "model-00002.safetensors"}}).encode(), INDEX),
        f"{INDEX}: .*names model-00002.safetensors, which is missing",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_named(case, folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    edit, message = CASES[case]
    edit(folder)
    with pytest.raises(UserError, match=message):
        AutoMultiExitModel.from_pretrained(folder, multi_exit_config=CASTS)
    assert not Path("ran").exists()


def test_a_wrong_layer_is_no_fault_of_the_files(folder):
    with pytest.raises(UserError, match="the model has layers 1 to 6") as caught:
        AutoMultiExitModel.from_pretrained(folder, MultiExitConfiguration("SHARED_PROJECTION_CAST_OUTPUTS", (2, 9)))
    assert "no model that transformers can make" not in str(caught.value)


def test_masks_of_older_checkpoints_are_left_out(folder):
    masks = {
        "transformer.h.0.attn.masked_bias": torch.tensor(-1e4),
        "transformer.h.0.attn.bias": torch.ones(1, 1, 8, 8),
    }
    tensors(**masks)(folder)
    model = AutoMultiExitModel.from_pretrained(folder, multi_exit_config=CASTS)
    expected = AutoModelForCausalLM.from_pretrained(SOURCE).state_dict()
    assert all(torch.equal(model.state_dict()[name], value) for name, value in expected.items())


def test_other_shapes_are_taken_if_asked_for(folder):
    config(vocab_size=600)(folder)
    model = AutoMultiExitModel.from_pretrained(folder, multi_exit_config=CASTS, ignore_mismatched_sizes=True)
    assert model.get_output_embeddings().weight.shape == (600, 32)


def test_exits_may_be_missing_and_others_left_over(tmp_path):
    model = AutoMultiExitModel.from_pretrained(SOURCE, multi_exit_config=CASTS)
    model.save_pretrained(tmp_path)
    others = MultiExitConfiguration("LAYER_SPECIFIC_PROJECTION", (3,))
    assert AutoMultiExitModel.from_pretrained(tmp_path, multi_exit_config=others).exit_layers == (3,)
