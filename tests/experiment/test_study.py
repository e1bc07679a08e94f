"""The profile study keeps what a reader of its results relies on."""

import pytest

from autocontrastive_gen.data.local_tasks import TASKS
from autocontrastive_gen.experiment.params import load_profile
from autocontrastive_gen.experiment.settings import Grid


@pytest.fixture(scope="module")
def study():
    return load_profile("study")


def test_there_are_enough_prompts_and_items(study):
    prompts = study.prompts()
    assert prompts["wikipedia"] >= 150 and prompts["news"] >= 150 and prompts["books"] >= 60
    assert study.prepare.validation_prompts >= 32 and len(study.run.tasks) >= 6
    assert study.prepare.benchmark_items["last-word"] >= 500 and study.benchmark.limit >= 500
    assert study.select.benchmark_tasks == ["last-word"]
    assert study.prepare.benchmark_validation_items["last-word"] >= 200


def test_exits_train_on_no_text_of_the_evaluation(study):
    trained = {study.domains[name].asset for name in study.prepare.training.sources}
    sources = [name for task in study.run.tasks if task in TASKS for name in study.prepare.benchmark_sources[task]]
    asked = {study.domains[name].asset for name in (*study.run.domains, *sources)} | {study.prepare.bundle}
    assert not trained & asked and all(study.assets[name].evaluation_only for name in asked)
    assert not any(study.assets[name].evaluation_only for name in trained)


def test_every_contrast_and_layer_of_generation_is_benchmarked(study):
    run, exits = study.run, study.models["smollm2"].exits
    grid = Grid.of(run.settings, run.benchmark_settings, study.decoders, study.contrasts)
    generated = {(setting.contrast, setting.lower) for setting in grid.settings if setting.contrast}
    assert generated <= {(setting.contrast, setting.lower) for setting in grid.benchmark_settings}
    assert {("acd", layer) for layer in exits} <= generated and exits == [10, 15, 20, 25, 27]
    assert {study.contrasts[name].parameters.get("alpha") for name, _ in generated} >= {0.02, 0.1, 0.5}
    assert 0.5 in {study.contrasts[name].parameters.get("temperature") for name, _ in generated}


def test_its_settings_include_those_of_the_laptop_profile(study):
    laptop = load_profile("laptop")
    assert set(laptop.run.settings) <= set(study.run.settings)
