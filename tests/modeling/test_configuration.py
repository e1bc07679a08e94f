"""The reference's configuration: string forms, contradictions, impossible layers, change without reloading."""

import pytest
import torch

from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration, VocabularyProjectionMode
from tests.modeling.conftest import MODES, tiny_ids, tiny_model, tiny_plain


def test_string_forms():
    setting = MultiExitConfiguration(
        vocab_projection_mode="shared_projection_direct",
        lm_head_layer_indices="2;4;6",
        freeze_parameters="True",
        use_original_head="False",
        contrast_layer_indices="original;12",
    )
    assert setting.vocab_projection_mode is VocabularyProjectionMode.SHARED_PROJECTION_DIRECT
    assert setting.lm_head_layer_indices == (2, 4, 6)
    assert setting.freeze_parameters is True and setting.use_original_head is False
    assert setting.contrast_layer_indices == ("original", 12)
    assert setting.get_description() == "original_vs_12"
    assert MultiExitConfiguration(use_original_head=False, contrast_layer_indices="24;12").contrast_layer_indices == (
        24,
        12,
    )
    assert MultiExitConfiguration(use_original_head=False, output_layer_index="3").get_description() == "layer_3"


def test_defaults_are_those_of_the_reference():
    setting = MultiExitConfiguration()
    assert setting.vocab_projection_mode is VocabularyProjectionMode.LAYER_SPECIFIC_PROJECTION
    assert (setting.use_original_head, setting.freeze_parameters) == (True, False)
    assert setting.lm_head_layer_indices is setting.output_layer_index is setting.contrast_layer_indices is None
    assert setting.get_description() == "original_head"
    assert (setting.contrast_function.alpha, setting.contrast_function.minimum_candidates) == (0.1, 1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"contrast_layer_indices": (4, 2)}, "use_original_head=True"),
        ({"use_original_head": False}, "needs an exit"),
        ({"use_original_head": False, "output_layer_index": 2, "contrast_layer_indices": (4, 2)}, "be used together"),
        ({"use_original_head": False, "contrast_layer_indices": 4}, "upper and a lower"),
        ({"use_original_head": False, "contrast_layer_indices": (4, "original")}, "whole number"),
        ({"use_original_head": False, "output_layer_index": "original"}, "whole number"),
        ({"use_original_head": False, "output_layer_index": 0}, "numbered from 1"),
        ({"use_original_head": "maybe"}, "True or False"),
        ({"vocab_projection_mode": "shared"}, "SHARED_PROJECTION_DIRECT"),
        ({"lm_head_layer_indices": "2;2"}, "distinct"),
        ({"use_original_head": False, "output_layer_index": 2, "contrast_function": "acdc"}, "acd"),
    ],
)
def test_contradictions_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        MultiExitConfiguration(**fields)


def test_an_exit_beside_the_original_head_is_ignored_with_a_warning():
    with pytest.warns(UserWarning, match="contrast_function='cd' is ignored: nothing is contrasted"):
        MultiExitConfiguration(contrast_function="cd")
    with pytest.warns(UserWarning, match="output_layer_index=2 is ignored"):
        setting = MultiExitConfiguration(output_layer_index=2)
    assert setting.get_description() == "original_head"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"output_layer_index": 3}, "no exit 3; exits of its 4 layers: 1, 2"),
        ({"contrast_layer_indices": ("original", 3)}, "no exit 3"),
        ({"contrast_layer_indices": (2, 2)}, "the lower exit 2 is the upper exit 2; other exits: 1"),
        (
            {"contrast_layer_indices": ("original", 1), "contrast_function": {"name": "dola", "layers": [1, 3]}},
            "no exit 3",
        ),
        ({"layer": 2}, "no such field"),
        ({"vocab_projection_mode": MODES[1]}, "exits of this model are LAYER_SPECIFIC"),
    ],
)
def test_impossible_layers_are_refused(fields, message):
    model = tiny_model(exits=(1, 2), output_layer_index=2)
    with pytest.raises(ValueError, match=message):
        model.set_exits(**fields)
    assert model.multi_exit_config.output_layer_index == 2  # nothing has changed


def test_what_is_no_setting_or_no_model_is_refused():
    with pytest.raises(TypeError, match="multi_exit_config: give a MultiExitConfiguration, got {'output"):
        AutoMultiExitModel.from_model(tiny_plain(), {"output_layer_index": 2})
    with pytest.raises(TypeError, match="a loaded model of transformers, got Linear"):
        AutoMultiExitModel.from_model(torch.nn.Linear(2, 2))
    with pytest.raises(TypeError, match="set_exits.'original'.: give a MultiExitConfiguration"):
        tiny_model().set_exits("original")


def test_layers_beyond_the_model_are_refused():
    with pytest.raises(ValueError, match="layers 1 to 4"):
        AutoMultiExitModel.from_model(tiny_plain(), MultiExitConfiguration(MODES[0], (2, 9)))


def test_direct_exits_need_no_list():
    model = AutoMultiExitModel.from_model(tiny_plain(), MultiExitConfiguration(MODES[2]))
    assert model.exit_layers == (1, 2, 3, 4)


def test_set_exits_gives_back_the_previous_setting():
    model = tiny_model(output_layer_index=2)
    ids = tiny_ids()
    with torch.no_grad():
        before = model(ids).logits
        with model.set_exits(contrast_layer_indices=("original", 1), contrast_function={"name": "acd", "alpha": 0.3}):
            assert model.multi_exit_config.get_description() == "original_vs_1"
            contrast = model(ids).logits
        assert torch.equal(model(ids).logits, before)
        previous = model.set_exits()
        assert model.multi_exit_config.use_original_head
        model.set_exits(previous)
        assert torch.equal(model(ids).logits, before)
        assert not torch.equal(contrast, before)


def test_parameters_of_each_exit():
    model = tiny_model(MODES[1], exits=(3, 1))
    assert model.exit_layers == (1, 3) and model.num_layers == 4
    assert {layer: [p.shape for p in ps] for layer, ps in model.exit_parameters().items()} == {
        "1": [(32, 32)],
        "3": [(32, 32)],
    }
    head = model.exit_head(1)
    assert head.cast is model.name_to_conv_matrix["1_to_4"] and head.weight is model.lm_head.weight
    assert head.bias is None and model.exit_head("original").cast is None
