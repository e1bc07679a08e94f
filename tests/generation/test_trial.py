"""A trial as JSON: what it stands for, and what it refuses."""

import json

import pytest

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.generation.decode import generate_texts
from autocontrastive_gen.generation.decoder import DECODERS
from autocontrastive_gen.generation.trial import Trial

ACD = {"contrast_layer_indices": ["original", 3], "contrast_function": {"name": "acd", "alpha": 0.2}}
CONTENT = {
    "prompt": "The road from Holkeswick",
    "new_tokens": 9,
    "seed": 3,
    "settings": [{}, {"decoder": {"method": "top-p", "top_p": 0.7}, "exits": ACD}],
}


def test_a_trial_survives_json():
    trial = Trial.read(CONTENT)
    assert Trial.read(json.loads(json.dumps(trial.content))) == trial
    assert [setting.is_plain for setting in trial.settings] == [True, False]


def test_its_texts_are_those_of_its_settings(model, tokenizer):
    plain, contrasted = Trial.read(CONTENT).texts(model, tokenizer)
    prompt, decoder = [{"id": "", "prompt": CONTENT["prompt"]}], DECODERS.build("top-p", {"top_p": 0.7})
    assert plain == generate_texts(model, tokenizer, prompt, DECODERS.build("greedy", {}), 9, 3, 1)[0]
    with model.set_exits(**ACD):
        assert contrasted == generate_texts(model, tokenizer, prompt, decoder, 9, 3, 1)[0]
    assert plain["tokens"] != contrasted["tokens"]


def test_a_model_keeps_its_own_setting(model):
    (_, contrast) = Trial.read(CONTENT).settings
    own = contrast.of(model)
    assert own.active_exits.method is not None and model.active_exits.method is None
    assert own.lm_head.weight is model.lm_head.weight


@pytest.mark.parametrize(
    "change, said",
    [
        ({"new_tokens": 0}, "new_tokens of trial must be a whole number from 1 to 512, got 0"),
        ({"new_tokens": 513}, "512"),
        ({"seed": "x"}, "seed"),
        ({"prompt": 3}, "prompt: give a text"),
        ({"prompt": "x" * 20_001}, "20000 characters"),
        ({"settings": []}, "give 1 to 4"),
        ({"settings": [{}] * 5}, "give 1 to 4"),
        ({"settings": "greedy"}, "give a list"),
        ({"settings": ["greedy"]}, "give a mapping"),
        ({"temperature": 1}, "has no 'temperature'"),
        ({"settings": [{"decoder": {"method": "beem"}}]}, "did you mean beam?"),
        ({"settings": [{"decoder": {"method": "beam", "num_beams": 0}}]}, "num_beams"),
        ({"settings": [{"exits": {"freeze_parameters": True}}]}, "has no 'freeze_parameters'"),
        ({"settings": [{"exits": {**ACD, "contrast_function": "os:system"}}]}, "'os:system' is not one of"),
        ({"settings": [{"exits": {**ACD, "contrast_function": {"name": "os:system"}}}]}, "'os:system' is not one of"),
    ],
)
def test_what_is_wrong_is_named(change, said):
    with pytest.raises(InputError, match=said):
        Trial.read({**CONTENT, **change})


@pytest.mark.parametrize(
    "change, said",
    [
        ({"prompt": ""}, "the prompt is empty"),
        ({"prompt": "wool " * 600}, "positions"),
        ({"settings": [{}, {"exits": {"output_layer_index": 99}}]}, "setting 2: .*99"),
        ({"settings": [{"exits": {**ACD, "contrast_layer_indices": [3, 3]}}]}, "setting 1: contrast_layer_indices"),
    ],
)
def test_what_the_model_cannot_do_is_named(model, tokenizer, change, said):
    with pytest.raises(InputError, match=said):
        Trial.read({**CONTENT, **change}).encoded(model, tokenizer)
