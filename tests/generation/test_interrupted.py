"""The generate stage, killed between two batches, resumes there and ends with the same bytes."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from autocontrastive_gen.experiment.params import load_params
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.experiment.plan import write_plan
from autocontrastive_gen.foundation.files import write_json, write_jsonl

ROOT = Path(__file__).parents[2]
PATHS = Paths("smoke")
DRIVER = """
import contextlib, os, runpy, signal, sys
from autocontrastive_gen.generation import batches
write, limit, written = batches.Kept.write, int(sys.argv.pop(1)), []
@contextlib.contextmanager
def counted(self, name):
    with write(self, name) as path:
        yield path
    written.append(name)
    if len(written) == limit:
        os.kill(os.getpid(), signal.SIGKILL)
batches.Kept.write = counted
runpy.run_module("stages.generate", run_name="__main__", alter_sys=True)
print(len(written))
"""


@pytest.fixture
def generate(project):
    """Runs the stage; the argument is the number of batches after which it is killed, 0 for never."""
    write_plan(load_params())
    shutil.copytree(ROOT / "tests/fixtures/smoke/model", PATHS.asset("tiny"))
    write_json(PATHS.resolved("tiny", "greedy"), {"upper": "original", "lower": None, "contrast": None})
    for domain in ("made-a", "made-b"):
        rows = [{"id": f"{domain}-{i}", "prompt": "wool and hail " * (i + 1), "human": "x"} for i in range(5)]
        write_jsonl(PATHS.prompts(domain), rows)

    def run(limit):
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
        command = [sys.executable, "-c", DRIVER, str(limit), "--model", "tiny", "--setting", "greedy"]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=200)

    return run


def texts():
    return {domain: PATHS.texts("tiny", "greedy", domain).read_bytes() for domain in ("made-a", "made-b")}


@pytest.mark.slow
def test_a_killed_stage_resumes(generate):
    whole = generate(0)
    assert whole.returncode == 0, whole.stderr
    expected, batches = texts(), int(whole.stdout)
    shutil.rmtree(PATHS.generate("tiny", "greedy"))
    assert generate(3).returncode == -signal.SIGKILL
    assert not PATHS.generate("tiny", "greedy").exists()
    rest = generate(0)
    assert rest.returncode == 0 and int(rest.stdout) == batches - 3 > 0, rest.stderr
    assert texts() == expected
