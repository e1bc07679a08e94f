"""What a newcomer tries first: `python -m stages.demo`."""

import re
import shutil
import subprocess
import sys

import pytest


@pytest.fixture
def demo(project, root):
    shutil.copytree(root / "stages", project / "stages", ignore=shutil.ignore_patterns("__pycache__"))

    def run(*arguments, code=0):
        command = [sys.executable, "-m", "stages.demo", *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr

    return run


@pytest.mark.slow
def test_the_first_model_of_the_parameters_is_fetched_and_contrasted(demo, project):
    shown = demo("--new-tokens", "10")
    assert "Plain greedy search, diversity" in shown and "Contrast of the last layer (6) against layer 5" in shown
    changed = re.search(r"(\d+) of 10 tokens, in brackets", shown)
    assert int(changed[1]) > 0 and "[" in shown.split("Contrast of")[1]
    assert (project / ".scratch/models/tiny/config.json").exists()
    assert demo("--new-tokens", "10") == shown, "the second time nothing is fetched, and the texts are the same"


@pytest.mark.slow
def test_any_folder_will_do(demo, smoke_model_folder):
    model = ("--model", str(smoke_model_folder), "--prompt", "Once", "--new-tokens", "4")
    assert "against layer 2" in demo(*model, "--lower", "2")
    assert "9" in demo(*model, "--lower", "9", code=2)
    assert "nowhere" in demo("--model", "./nowhere", code=2)
