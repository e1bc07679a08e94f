"""What the playground answers, and whom it refuses."""

import json
import re

import pytest
from play_trial import ACD, TRIAL
from starlette.testclient import TestClient
from transformers import AutoTokenizer

from autocontrastive_gen import AutoMultiExitModel, MultiExitConfiguration
from autocontrastive_gen.generation.trial import Trial
from autocontrastive_gen.inspection.layer_choices import layer_choices
from autocontrastive_gen.review.playground.subject import Subject, first_settings, subject_of_model
from autocontrastive_gen.review.playground.web_app import MOST_BYTES, playground


def test_the_page_needs_nothing_from_elsewhere(client):
    page = client.get("/")
    assert page.status_code == 200 and "http" not in page.text
    for name in re.findall(r'(?:src|href)="(play\.\w+)"', page.text):
        file = client.get(f"/{name}")
        assert file.status_code == 200 and file.headers["x-content-type-options"] == "nosniff"
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", file.text)
        for module in re.findall(r'from "\./(\w+\.js)"', file.text):
            assert client.get(f"/{module}").headers["content-type"].startswith("text/javascript")
    assert "default-src 'none'" in page.headers["content-security-policy"]


def about(client):
    return json.loads(re.search(r'id="about">(.*?)</script>', client.get("/").text, re.S)[1])


def test_the_page_knows_model_decoders_and_contrasts(client, subject):
    found = about(client)
    assert found["layers"] == 6 and found["exitLayers"] == [1, 2, 3, 4, 5, 6]
    assert (
        list(found["settings"])
        == list(first_settings(subject.model))
        == ["greedy", "greedy-acd5", "top-p", "top-p-acd5"]
    )
    assert found["contrasts"]["acd"]["takesLower"] and not found["contrasts"]["sled"]["takesLower"]
    temperature = found["contrasts"]["acd"]["parameters"][2]
    assert (temperature["name"], temperature["default"]) == ("temperature", 1.0) and "lower exit" in temperature["help"]


def test_a_checkpoint_is_opened_with_its_own_exits(smoke_model_folder, tmp_path):
    exits = MultiExitConfiguration("SHARED_PROJECTION_CAST_OUTPUTS", lm_head_layer_indices=(2, 4))
    AutoMultiExitModel.from_pretrained(smoke_model_folder, multi_exit_config=exits).save_pretrained(tmp_path / "whole")
    AutoTokenizer.from_pretrained(smoke_model_folder).save_pretrained(tmp_path / "whole")
    opened = subject_of_model(tmp_path / "whole")
    assert opened.exits == "exits of whole at layers 2, 4" and list(opened.model.exit_layers) == [2, 4]
    assert "greedy-acd4" in opened.settings
    assert subject_of_model(smoke_model_folder).exits.startswith("untrained")


def test_settings_are_stated_without_their_defaults(subject):
    full = {"method": "top-p", "top_p": 0.9, "temperature": 1.0, "repetition_penalty": 1.0}
    contrast = {"contrast_layer_indices": ("original", 2), "contrast_function": {"name": "acd", "alpha": 0.1}}
    own = Subject(subject.model, subject.tokenizer, "", "", {"mine": {"decoder": full, "exits": contrast}})
    assert own.described()["settings"]["mine"] == {
        "decoder": {"method": "top-p", "top_p": 0.9},
        "exits": {"contrast_layer_indices": ["original", 2], "contrast_function": {"name": "acd"}},
    }


def test_what_a_title_holds_is_text(subject):
    attack = "</script><script>alert(1)</script>"
    own = Subject(subject.model, subject.tokenizer, attack, attack, {"x": {}}, [(attack, attack)])
    with TestClient(playground(own, Trial.read({**TRIAL, "prompt": attack})), base_url="http://127.0.0.1") as client:
        assert attack not in client.get("/").text
        assert about(client)["trial"]["prompt"] == attack


def test_layers_are_those_of_the_library(client, subject):
    trial, tokens = {**TRIAL, "settings": [{"exits": ACD}]}, [4, 9, 2]
    answer = client.post("/layers", json={"trial": trial, "tokens": tokens})
    prompt = subject.tokenizer(TRIAL["prompt"])["input_ids"]
    with subject.model.set_exits(**ACD):
        assert answer.json() == layer_choices(subject.model, subject.tokenizer, [*prompt, 4, 9], 2)
    assert answer.json()[0]["exit"] == "setting"


@pytest.mark.parametrize("tokens", [None, [], "1", [-1], [10**6], [True], [1.5], [1] * 513])
def test_tokens_must_be_the_models(client, tokens):
    answer = client.post("/layers", json={"trial": TRIAL, "tokens": tokens})
    assert answer.status_code == 400 and "tokens: give" in answer.json()["message"]


@pytest.mark.parametrize(
    "change, said",
    [
        ({"prompt": "wool " * 600}, "exceed the model's"),
        ({"prompt": ""}, "the prompt is empty"),
        ({"new_tokens": 10**6}, "new_tokens"),
        ({"settings": [{"exits": {"output_layer_index": 99}}]}, "setting 1"),
    ],
)
def test_what_cannot_run_is_refused_with_a_message(client, change, said):
    answer = client.post("/texts", json={**TRIAL, **change})
    assert answer.status_code == 400 and said in answer.json()["message"]


@pytest.mark.parametrize(
    "headers, status",
    [
        ({"host": "evil.example"}, 400),
        ({"host": "127.0.0.1.evil.example"}, 400),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"origin": "http://127.0.0.1"}, 200),
        ({"host": "localhost:8000", "origin": "http://localhost:8000"}, 200),
    ],
)
def test_the_model_runs_for_its_own_page_only(client, headers, status):
    content = json.dumps({**TRIAL, "new_tokens": 1, "settings": [{}]})
    answer = client.post("/texts", content=content, headers={"content-type": "application/json", **headers})
    assert answer.status_code == status


def test_the_page_itself_is_shown_to_no_other_host(client):
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400


@pytest.mark.parametrize(
    "content, status", [(b"{", 400), (b"[]", 400), (b'"x"', 400), (b"\xff", 400), (b" " * (MOST_BYTES + 1), 413)]
)
def test_a_body_that_is_not_a_small_json_object_is_refused(client, content, status):
    answer = client.post("/texts", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == status and answer.json()["message"]
