"""A run's model in MLflow: ``mlflow.pyfunc.load_model`` opens it and generates what the pipeline would."""

import shutil
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient

from autocontrastive_gen import AutoMultiExitModel, InputError, MultiExitConfiguration
from autocontrastive_gen.experiment.lock import read_lock
from autocontrastive_gen.foundation.errors import MissingFileError
from autocontrastive_gen.foundation.files import write_text
from autocontrastive_gen.generation.decode import generate_texts
from autocontrastive_gen.generation.decoder import DECODERS
from autocontrastive_gen.modeling.exits_card import exits_card
from autocontrastive_gen.review import logged_models, tracking
from autocontrastive_gen.review.records import read_cells
from autocontrastive_gen.review.tracking import publish

PROMPTS = ["humpty dumpty sat on", "it was the best"]
CAST = "SHARED_PROJECTION_CAST_OUTPUTS"


@pytest.fixture
def run_with_model(small_run, smoke_model_folder):
    """The small run with a real base model and exits that are not the identity."""
    shutil.copytree(smoke_model_folder, small_run.paths.asset("model"))
    torch.manual_seed(0)
    exits = MultiExitConfiguration(CAST, lm_head_layer_indices=(2, 4))
    model = AutoMultiExitModel.from_pretrained(smoke_model_folder, multi_exit_config=exits)
    for parameters in model.exit_parameters().values():
        for parameter in parameters:
            torch.nn.init.normal_(parameter, std=0.3)
    shutil.rmtree(small_run.paths.exits("tiny"))
    model.save_exits(small_run.paths.exits("tiny"))
    small_run.model = model
    return small_run


def publish_all(run) -> None:
    lock = read_lock()
    publish("smoke", run.plan, lock, read_cells("smoke", run.plan, lock))


def models_of_the_store() -> list:
    client = MlflowClient(tracking.tracking_uri())
    experiment = client.get_experiment_by_name("small").experiment_id
    return client.search_logged_models([experiment])


@pytest.fixture
def loaded(run_with_model):
    publish_all(run_with_model)
    mlflow.set_tracking_uri(tracking.tracking_uri())
    (found,) = models_of_the_store()
    yield mlflow.pyfunc.load_model(f"models:/{found.model_id}")
    mlflow.set_tracking_uri(None)


def expected(run, tokenizer, **setting) -> list[str]:
    prompts = [{"id": str(i), "prompt": prompt} for i, prompt in enumerate(PROMPTS)]
    decoder = DECODERS.build("top-p", {"top_p": 0.95})
    with run.model.set_exits(**setting):
        rows = generate_texts(run.model, tokenizer, prompts, decoder, 5, 1, 2)
    return [row["continuation"] for row in rows]


def test_it_generates_what_the_run_would(run_with_model, loaded, smoke_model_folder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smoke_model_folder)
    prompts = pd.DataFrame({"prompt": PROMPTS})
    contrast = {"contrast_layer_indices": ("original", 4), "contrast_function": {"name": "acd", "alpha": 0.3}}
    plain = expected(run_with_model, tokenizer, use_original_head=True)
    contrasted = expected(run_with_model, tokenizer, **contrast)
    assert plain != contrasted
    assert list(loaded.predict(prompts)["continuation"]) == contrasted, "the default is the first with a contrast"
    assert list(loaded.predict(prompts, params={"setting": "greedy"})["continuation"]) == plain
    longer = loaded.predict(prompts, params={"new_tokens": 9})["continuation"]
    assert all(
        text.startswith(start) and len(text) > len(start) for text, start in zip(longer, contrasted, strict=True)
    )
    with pytest.raises(InputError, match="has no 'gredy'; did you mean greedy"):
        loaded.predict(prompts, params={"setting": "gredy"})


def test_a_list_of_prompts_is_continued_and_no_length_is_refused(loaded):
    together = loaded.predict({"prompt": PROMPTS})["continuation"].tolist()
    assert together == loaded.predict(pd.DataFrame({"prompt": PROMPTS}))["continuation"].tolist() and len(together) == 2
    with pytest.raises(InputError, match="new_tokens: 0 is not allowed"):
        loaded.predict({"prompt": PROMPTS}, params={"new_tokens": 0})


def test_signature_and_example_say_what_goes_in(loaded):
    assert loaded.metadata.get_input_schema().input_names() == ["prompt"]
    assert loaded.metadata.get_output_schema().input_names() == ["continuation"]
    defaults = {param.name: param.default for param in loaded.metadata.get_params_schema()}
    assert defaults == {"setting": "greedy-acd", "new_tokens": 5, "seed": 1}
    assert list(loaded.input_example["prompt"]) == [logged_models.EXAMPLE]
    assert len(loaded.predict(loaded.input_example)) == 1
    with pytest.raises(mlflow.exceptions.MlflowException, match="prompt"):
        loaded.predict(pd.DataFrame({"text": ["x"]}))


def test_the_run_names_its_model_and_the_data(loaded):
    (found,) = models_of_the_store()
    client = MlflowClient(tracking.tracking_uri())
    run = client.get_run(found.source_run_id)
    assert run.data.tags["dvc.stage"] == "pipeline" and found.name == "tiny" and found.status == "READY"
    assert [output.model_id for output in run.outputs.model_outputs] == [found.model_id]
    (given,) = run.inputs.dataset_inputs
    assert mlflow.data.get_source(given.dataset).load() == str(Path("runs/smoke/prepare/card.json").resolve())
    assert {tag.key: tag.value for tag in given.tags} == {"mlflow.data.context": "training and evaluation"}


def test_a_base_model_elsewhere_is_named_at_loading(run_with_model, loaded, tmp_path):
    (found,) = models_of_the_store()
    shutil.move(run_with_model.paths.asset("model"), tmp_path / "elsewhere")
    prompts = pd.DataFrame({"prompt": PROMPTS})
    with pytest.raises(MissingFileError, match="model_config={'base': ...}"):
        loaded.predict(prompts)
    again = mlflow.pyfunc.load_model(f"models:/{found.model_id}", model_config={"base": str(tmp_path / "elsewhere")})
    assert len(again.predict(prompts)) == 2


def test_the_card_beside_the_exits_shows_the_layer_that_the_run_chose(run_with_model, tmp_path):
    card = run_with_model.paths.exits("tiny") / "README.md"
    write_text(card, exits_card((2, 4, 5), 6, CAST))
    assert '("original", 5)' in card.read_text()
    made = logged_models.RunModel.of(run_with_model.paths, run_with_model.plan, "tiny", Path.cwd())
    made.save(tmp_path / "logged")
    (copied,) = (tmp_path / "logged").rglob("README.md")
    assert copied.read_text() == card.read_text().replace('("original", 5)', '("original", 4)')


def test_large_exits_are_linked_and_small_ones_copied(run_with_model, tmp_path, monkeypatch):
    plan = run_with_model.plan
    made = logged_models.RunModel.of(run_with_model.paths, plan, "tiny", Path.cwd())
    made.save(tmp_path / "copied")
    monkeypatch.setattr(logged_models, "_COPIED", 100)
    made.save(tmp_path / "linked")
    sizes = {}
    for name in ("copied", "linked"):
        assert len(mlflow.pyfunc.load_model(tmp_path / name).predict(pd.DataFrame({"prompt": PROMPTS}))) == 2
        sizes[name] = len([*(tmp_path / name).rglob("*.safetensors")])
    assert sizes == {"copied": 1, "linked": 0}


@pytest.mark.parametrize("call", ["log_outputs", "log_model_artifacts", "finalize_logged_model"])
def test_an_interrupted_logging_is_completed_and_doubles_nothing(run_with_model, monkeypatch, call):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, call, stop)
        with pytest.raises(KeyboardInterrupt):
            publish_all(run_with_model)
    publish_all(run_with_model)
    (found,) = models_of_the_store()
    run = MlflowClient(tracking.tracking_uri()).get_run(found.source_run_id)
    assert found.status == "READY" and len(run.outputs.model_outputs) == 1


def test_it_works_with_a_store_of_files(run_with_model, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    publish_all(run_with_model)
    (found,) = models_of_the_store()
    model = mlflow.pyfunc.load_model(f"models:/{found.model_id}")
    assert len(model.predict(pd.DataFrame({"prompt": PROMPTS}))) == 2
