"""Many settings of one model in lm-eval, with one pass through the trunk."""

import pytest
import torch
from lm_eval.api.instance import Instance
from transformers import AutoTokenizer

from autocontrastive_gen.evaluation.lm_eval_harness.adapter import MultiExitLM
from autocontrastive_gen.evaluation.lm_eval_harness.shared_trunk import SharedTrunkLM
from autocontrastive_gen.modeling import kept_states
from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration

PAIRS = [
    ("The road from Holkeswick follows", " the Torhol to the clock"),
    ("Since then", " the lantern"),
    ("In winter the people of Holkeswick sell", " wool"),
    ("wool", " wool wool wool"),
]
CONTRASTED = {
    ("original", 2): {"name": "acd"},
    (4, 2): {"name": "acd", "alpha": 0.3},
    ("original", None): {"name": "sled", "layers": "all"},
}
SETTINGS = [
    {"use_original_head": True},
    {"use_original_head": False, "output_layer_index": 4},
    *(
        {"use_original_head": False, "contrast_layer_indices": layers, "contrast_function": function}
        for layers, function in CONTRASTED.items()
    ),
]


@pytest.fixture
def parts(smoke_model_folder):
    exits = MultiExitConfiguration("SHARED_PROJECTION_DIRECT", (2, 4))
    model = AutoMultiExitModel.from_pretrained(smoke_model_folder, multi_exit_config=exits).eval()
    return model, AutoTokenizer.from_pretrained(smoke_model_folder)


@pytest.fixture
def passes(parts):
    """Grows by one with every pass through the trunk."""
    counted = []
    parts[0].transformer.register_forward_hook(lambda *_: counted.append(1))
    return counted


def shared_lm(parts, **options) -> SharedTrunkLM:
    model, tokenizer = parts
    return SharedTrunkLM(pretrained=model, tokenizer=tokenizer, batch_size=2, **options)


def scored(lm) -> list[tuple[float, bool]]:
    return lm.loglikelihood([Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(PAIRS)])


@pytest.mark.parametrize("kept", [False, True])
def test_every_setting_scores_as_on_its_own_and_the_trunk_runs_once_per_batch(parts, passes, tmp_path, kept):
    model, tokenizer = parts
    shared = shared_lm(parts, layers=(2, 4), keep=tmp_path if kept else None)
    for setting in SETTINGS:
        with model.set_exits(**setting):
            found = scored(shared)
            assert len(passes) == 2, "two batches of two requests, whatever the number of settings"
            own = scored(MultiExitLM(pretrained=model, tokenizer=tokenizer, batch_size=2))
            del passes[2:]
        assert [greedy for _, greedy in found] == [greedy for _, greedy in own]
        assert [value for value, _ in found] == pytest.approx([value for value, _ in own], abs=1e-4)


def test_kept_states_serve_other_processes_and_change_no_bit(parts, passes, tmp_path):
    model, _ = parts
    for number, setting in enumerate(SETTINGS):
        with model.set_exits(**setting):
            first = scored(shared_lm(parts, keep=tmp_path / str(number)))
            del passes[:]
            for layers in ((2,), (2, 4), (3, 2, 4)):
                assert scored(shared_lm(parts, layers=layers, keep=tmp_path / f"{layers}")) == first
            assert len(passes) == (6, 2, 0, 0, 0)[number], "a layer that nobody announced costs its setting the passes"


def test_states_of_another_model_are_not_taken(parts, passes, tmp_path):
    model, _ = parts
    scored(shared_lm(parts, keep=tmp_path))
    with torch.no_grad():
        next(iter(model.transformer.parameters())).mul_(1.5)
    assert scored(shared_lm(parts, keep=tmp_path)) == scored(shared_lm(parts))
    assert len(passes) == 6


def test_damaged_states_are_made_again(parts, passes, tmp_path):
    first = scored(shared_lm(parts, keep=tmp_path))
    file = sorted(tmp_path.iterdir())[0]
    file.write_bytes(file.read_bytes()[:-4] + b"\0\1\2\3")
    assert scored(shared_lm(parts, keep=tmp_path)) == first
    assert len(passes) == 3
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_states_leave_room_on_the_disk(parts, passes, tmp_path, monkeypatch):
    monkeypatch.setattr(kept_states, "SHARE_OF_DISK", 0)
    assert scored(shared_lm(parts, keep=tmp_path)) == scored(shared_lm(parts, keep=tmp_path))
    assert len(passes) == 4
    assert not [*tmp_path.iterdir()]
