"""Training settings: complete by default, checked when they are made, and the same keys as in params.yaml."""

import json
from dataclasses import FrozenInstanceError, fields

import pytest

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.foundation.named import describe
from autocontrastive_gen.training.train_settings import CastFit, SampledSoftmax, TrainSettings


@pytest.mark.parametrize("cls", [TrainSettings, CastFit, SampledSoftmax])
def test_every_field_has_a_default_a_range_and_its_doc(cls):
    described = describe(cls)
    assert [name for name, *_ in described] == [each.name for each in fields(cls)]
    assert all(allowed and help.endswith(".") for _, _, allowed, help in described)
    cls()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size of train must be a whole number of at least 1, got 0"),
        ({"block_size": 1}, "block_size of train must be a whole number of at least 2, got 1"),
        ({"learning_rate": 0}, "learning_rate of train must be a number above 0, got 0"),
        ({"learning_rate": float("inf")}, "learning_rate of train must be a number above 0, got inf"),
        ({"epochs": 1.5}, "epochs of train must be a whole number"),
        ({"patience": 0}, "patience of train must be a whole number of at least 1 or null, got 0"),
        ({"method": "ce"}, "method of train must be none or least-squares or cross-entropy or distillation, got 'ce'"),
        ({"bf16": "maybe"}, "bf16 of train must be true or false"),
        ({"betas": [0.9]}, r"betas of train must be two numbers from 0 to below 1, got \[0.9\]"),
        ({"betas": [0.9, 1.0]}, "betas of train must be two numbers"),
        ({"cast": {"damping": -1}}, "damping of cast must be a number of at least 0, got -1"),
        ({"cast": {"dampign": 1}}, r"cast has no parameter 'dampign'; .*did you mean damping"),
        ({"cast": 3}, "cast must be a mapping of settings, got 3"),
        ({"sampled_softmax": {"negatives": 0}}, "negatives of sampled_softmax must be a whole number of at least 1"),
        ({"lerning_rate": 1}, r"train has no parameter 'lerning_rate'; .*did you mean learning_rate"),
        ({"trunk_dropout": True}, "cache_states: true keeps the states of a trunk without dropout"),
    ],
)
def test_a_fault_names_the_setting_its_value_and_what_is_allowed(changes, message):
    with pytest.raises(InputError, match=message):
        TrainSettings.read(changes)
    with pytest.raises(InputError, match=message):
        TrainSettings().changed(changes)


def test_groups_are_read_from_mappings_and_written_as_them():
    settings = TrainSettings(cast={"damping": 0.5}, sampled_softmax={"frequent": 8}, betas=[0.5, 0.6])
    assert settings.cast == CastFit(damping=0.5) and settings.sampled_softmax == SampledSoftmax(frequent=8)
    written = json.loads(json.dumps(settings.as_dict()))
    assert TrainSettings.read(written) == settings
    assert settings.changed({"cast": {"tokens": 5}}).cast == CastFit(tokens=5)


def test_settings_do_not_change():
    with pytest.raises(FrozenInstanceError):
        TrainSettings().epochs = 3


def test_dropout_without_gradient_steps_contradicts_nothing():
    assert TrainSettings(method="least-squares", trunk_dropout=True).cache_states
