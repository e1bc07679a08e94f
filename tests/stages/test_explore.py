"""`python -m stages.explore`: what it opens, how it ends, and what it refuses."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest


@pytest.fixture
def explore(project, root):
    shutil.copytree(root / "stages", project / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "stages.explore", "--no-browser"]

    def start(*arguments):
        pipe = subprocess.PIPE
        return subprocess.Popen([*command, *arguments], stdout=pipe, stderr=pipe, text=True)

    return start


def said_by(process):
    """What it said until it had an address, and the address."""
    said = ""
    for line in process.stderr:
        said += line
        if found := re.search(r"http://127\.0\.0\.1:\d+", line):
            return said, found[0]
    raise AssertionError(said)


def about(address):
    with urllib.request.urlopen(address, timeout=30) as answer:
        return json.loads(re.search(r'id="about">(.*?)</script>', answer.read().decode(), re.S)[1])


@pytest.mark.slow
def test_before_any_run_it_opens_the_model_of_the_demo(explore, project):
    process = explore("--port", "0")
    try:
        said, address = said_by(process)
        assert "until then, this is the model of the demo" in said
        assert about(address)["exits"].startswith("untrained") and (project / ".scratch/models/tiny").exists()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()


@pytest.mark.slow
def test_ctrl_c_ends_texts_that_are_growing(explore, smoke_model_folder):
    process = explore("--model", str(smoke_model_folder), "--port", "0")
    try:
        trial = {"prompt": "Once", "new_tokens": 200, "settings": [{}, {"decoder": {"method": "beam"}}]}
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{said_by(process)[1]}/texts", json.dumps(trial).encode(), headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert b"plain" in answer.readline()
            answer.readline()
            process.send_signal(signal.SIGINT)
            rest = answer.read().decode().splitlines()
        assert sum('"done": true' in line for line in rest) == 2
        assert process.wait(timeout=30) == 0
        assert process.stderr.read() == "explore: stopped\n"
    finally:
        process.kill()


@pytest.mark.slow
def test_a_saved_trial_is_opened_with_any_model(explore, project, smoke_model_folder):
    trial = {"prompt": "Once", "new_tokens": 5, "seed": 1, "settings": [{"decoder": {"method": "beam"}}]}
    (project / "trial.json").write_text(json.dumps(trial))
    process = explore("--model", str(smoke_model_folder), "--trial", "trial.json", "--port", "0")
    try:
        found = about(said_by(process)[1])
        assert found["title"] == smoke_model_folder.name and found["trial"]["prompt"] == "Once"
        assert found["trial"]["settings"][0]["decoder"]["num_beams"] == 4
        process.terminate()
        process.wait(timeout=20)
    finally:
        process.kill()


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--port", "70000"], "'--port': .*65535"),
        (["--port", "-1"], "'--port': .*0"),
        pytest.param(["--run", "nowhere"], "nowhere", marks=pytest.mark.slow),
        pytest.param(["--model", "./nowhere"], "nowhere", marks=pytest.mark.slow),
        (["--exits", "somewhere"], "--exits goes with --model"),
        pytest.param(["--trial", "absent.json"], "absent.json", marks=pytest.mark.slow),
    ],
)
def test_what_it_cannot_open_is_named(explore, arguments, said):
    process = explore(*arguments)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2 and re.search(said, errors), errors


def test_a_port_that_is_taken_is_named(explore):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = explore("--port", str(taken.getsockname()[1]))
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 2 and "--port 0 takes a free one" in errors
