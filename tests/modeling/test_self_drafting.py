"""Assisted generation: the draft changes how fast tokens come, and not which ones."""

import pytest
import torch
from transformers import GenerationConfig

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.modeling.self_drafting import draft_of
from tests.modeling.conftest import MODES, tiny_ids, tiny_model, tiny_plain

SETTINGS = ({}, {"output_layer_index": 3}, {"contrast_layer_indices": ("original", 2)}, {"early_exit": 0.5})


def _greedy(model, **options):
    return model.generate(tiny_ids(1), max_new_tokens=20, do_sample=False, eos_token_id=None, **options)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_an_exit_drafts_and_the_tokens_stay_the_same(family, setting):
    model = tiny_model(MODES[1], family, **setting)
    expected = _greedy(model)
    used = []
    hook = model.name_to_conv_matrix["1_to_4"].register_forward_hook(lambda *_: used.append(1))
    assert torch.equal(_greedy(model, assistant_early_exit=1), expected)
    hook.remove()
    assert used, "the exit of layer 1 was to draft"
    assert torch.equal(_greedy(model), expected)  # and later calls work
    assert model.config.num_hidden_layers == 4


def test_the_draft_has_the_logits_of_its_exit():
    model = tiny_model(MODES[0])
    draft = draft_of(model, 2)
    with torch.no_grad(), model.set_exits(output_layer_index=2):
        assert torch.equal(draft(tiny_ids()).logits, model(tiny_ids()).logits)
    assert model.multi_exit_config.get_description() == "original_head"
    assert draft.lm_head is model.lm_head


def test_the_layer_may_stand_in_a_generation_config():
    model = tiny_model(MODES[0])
    config = GenerationConfig(max_new_tokens=9, do_sample=False, assistant_early_exit=2, pad_token_id=0)
    expected = model.generate(tiny_ids(1), max_new_tokens=9, do_sample=False)
    assert torch.equal(model.generate(tiny_ids(1), config), expected)
    assert torch.equal(model.generate(tiny_ids(1), generation_config=config), expected)
    assert config.assistant_early_exit == 2


def test_other_assistants_change_no_token():
    model = tiny_model(MODES[1], contrast_layer_indices=("original", 2))
    expected = _greedy(model)
    assert torch.equal(_greedy(model, assistant_model=tiny_plain(layers=2)), expected)
    assert torch.equal(_greedy(model, prompt_lookup_num_tokens=3), expected)


def test_what_cannot_draft_is_refused_before_anything_is_touched():
    model = tiny_model(MODES[1], contrast_layer_indices=("original", 2))
    expected = _greedy(model)
    for options, message in (
        ({"assistant_early_exit": 20}, "assistant_early_exit=20: the model has no such exit.*its exits: 1, 2, 3"),
        ({"assistant_early_exit": "1"}, "its exits: 1, 2, 3"),
        ({"assistant_early_exit": 1, "assistant_model": tiny_plain()}, "can't be used together"),
    ):
        with pytest.raises(InputError, match=message):
            _greedy(model, **options)
    model.generation_config.assistant_early_exit = 1
    with pytest.raises(InputError, match="set it to None in the model"):
        _greedy(model)
    model.generation_config.assistant_early_exit = None
    assert torch.equal(_greedy(model), expected)
