"""Damaged and altered checkpoints: a model, or the project's error; never another."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import strategies as st

from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.checkpoint import DESCRIPTION, WEIGHTS
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration
from autocontrastive_gen.modeling.weights import fault_of
from tests.modeling.conftest import MODES, tiny_model
from tests.strategies import altered, budget, damaged, json_bytes, outcome

SOURCE = Path(__file__).parents[1] / "fixtures" / "smoke" / "model"
CONFIG = json.loads((SOURCE / "config.json").read_text())
CASTS = MultiExitConfiguration("SHARED_PROJECTION_CAST_OUTPUTS", (2, 4))
HEADER = 9000
"""Bytes of the smoke model's weights that hold their header."""
SIZES = ("n_embd", "n_layer", "n_head", "n_positions", "n_inner", "vocab_size")


def is_huge(value):
    return isinstance(value, int | float) and math.isfinite(value) and value > 1e5


DEEP = b"[" * 100_000
NOTHING_TO_READ = {
    "a header that is nested deeply": ("a.safetensors", len(DEEP).to_bytes(8, "little") + DEEP, "its header is not"),
    "an index that is nested deeply": ("a.index.json", DEEP, "it is not an index of weights"),
    "an index with an endless name": (
        "a.index.json",
        json_bytes({"weight_map": {"a": "x" * 5000}}),
        "it is not an index",
    ),
}


@pytest.mark.parametrize("case", NOTHING_TO_READ)
def test_the_fault_of_files_that_no_reader_takes(case, tmp_path):
    name, content, fault = NOTHING_TO_READ[case]
    (tmp_path / name).write_bytes(content)
    assert fault_of(tmp_path / name).startswith(fault)


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(SOURCE, tmp_path / "model"))


def assert_a_model(found):
    """What was read gives finite logits or NaN-free ones, unless it is the project's error."""
    if not isinstance(found, Exception):
        with torch.no_grad():
            assert found(torch.arange(3)[None]).logits.shape[:2] == (1, 3)


@budget(4, 120, config=altered(CONFIG))
def test_altered_configurations(config, folder):
    if any(is_huge(config.get(size)) for size in SIZES):
        return  # such a model is well described, and too large for this machine
    (folder / "config.json").write_bytes(json_bytes(config))
    assert_a_model(outcome(lambda: AutoMultiExitModel.from_pretrained(folder, CASTS)))


@budget(4, 120, data=st.data())
def test_damaged_weights(data, folder):
    content = (SOURCE / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data.draw(damaged(content, HEADER)))
    assert_a_model(outcome(lambda: AutoMultiExitModel.from_pretrained(folder, CASTS)))


def header_of(entries):
    text = json_bytes(entries)
    return len(text).to_bytes(8, "little") + text + bytes(64)


ENTRIES = {"__metadata__": {"format": "pt"}, "a": {"dtype": "F32", "shape": [4, 2], "data_offsets": [0, 32]}}
INDEX = {"metadata": {"total_size": 1}, "weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
NO_WEIGHTS = st.one_of(st.binary(max_size=40), altered(ENTRIES).map(header_of), damaged(header_of(ENTRIES)))


@budget(50, 2000, content=NO_WEIGHTS)
def test_the_fault_of_any_weights_is_said(content, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(content)
    assert isinstance(fault_of(tmp_path / "model.safetensors"), str)


@budget(30, 1000, content=altered(INDEX))
def test_the_fault_of_any_index_is_said(content, tmp_path):
    path = tmp_path / "model.safetensors.index.json"
    path.write_bytes(json_bytes(content))
    assert isinstance(fault_of(path), str)


@pytest.fixture(scope="module")
def exits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exits")
    tiny_model(MODES[1]).save_exits(folder)
    return folder


@pytest.fixture(scope="module")
def model():
    return tiny_model(MODES[1], exits=(1, 2, 3))


@budget(20, 300, data=st.data())
def test_altered_exits(data, exits, model, tmp_path):
    """Whatever is refused leaves the model with the exits that it had."""
    description = json.loads((exits / DESCRIPTION).read_text())
    weights = (exits / WEIGHTS).read_bytes()
    (tmp_path / DESCRIPTION).write_bytes(json_bytes(data.draw(st.just(description) | altered(description))))
    (tmp_path / WEIGHTS).write_bytes(data.draw(st.just(weights) | damaged(weights, 600)))
    before = model.exit_layers
    found = outcome(lambda: model.load_exits(tmp_path))
    assert found is None or model.exit_layers == before
    assert_a_model(model)
    model.load_exits(exits)
