"""A tiny model to play with, and the playground on it."""

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from play_trial import TRIAL
from starlette.testclient import TestClient

from autocontrastive_gen.review.playground.server import listen
from autocontrastive_gen.review.playground.subject import subject_of_model, subject_of_run
from autocontrastive_gen.review.playground.web_app import playground


class Encoder:
    """Stands in for a sentence encoder: counts of letters."""

    def encode(self, texts, **options):
        return [[text.count(letter) + 1.0 for letter in "aeiou"] for text in texts]


@pytest.fixture(scope="session")
def subject(smoke_model_folder):
    return subject_of_model(smoke_model_folder, encoder=Encoder())


@pytest.fixture
def client(subject):
    with TestClient(playground(subject), base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
def run_trial(client):
    def run(**changes):
        answer = client.post("/texts", json={**TRIAL, **changes})
        assert answer.status_code == 200, answer.text
        return [json.loads(line) for line in answer.text.splitlines()]

    return run


@pytest.fixture(scope="session")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None and os.environ.get("CI") != "true":
        pytest.skip("no Chromium on this machine; apt-get install chromium")
    assert found, "CI must have Chromium: .ci/run installs it"
    return found


@contextmanager
def serving(subject) -> Iterator[str]:
    """Address of the playground on a real server."""
    listener = listen(0)
    server = uvicorn.Server(uvicorn.Config(playground(subject), log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = server.force_exit = True
    thread.join(timeout=30)
    listener.close()


@pytest.fixture
def served(subject):
    """Address of the playground on the tiny model."""
    with serving(subject) as address:
        yield address


@pytest.fixture
def served_run(root, monkeypatch):
    """Address of the playground on this clone's run of the laptop profile."""
    monkeypatch.chdir(root)
    if not Path("runs/laptop/train/smollm2/exits").exists() or not Path("runs/laptop/select/smollm2").exists():
        pytest.skip("this clone has no finished run of the laptop profile; make reproduce makes it")
    with serving(subject_of_run("laptop")) as address:
        yield address
