"""Two processes take the steps of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = """
import json, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import tiny
from autocontrastive_gen.training import states
from autocontrastive_gen.training.fit import fit_exits
from autocontrastive_gen.experiment.processes import Processes

states.TOKENS_AT_ONCE = 64
processes = Processes.start()
model = tiny.build_model()
fitted = fit_exits(
    model, tiny.WordTokenizer(), tiny.texts, {{"one": tiny.texts(8, 1)}}, tiny.settings(microbatch_size=2),
    tokens=2400, seed=7, folder=Path(sys.argv[1]), processes=processes,
)
if processes.main:
    print(json.dumps([processes.world, fitted.curve, fitted.quality]))
"""


def train(folder: Path, *launcher: str):
    folder.mkdir()
    script = folder / "script.py"
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parents[1] / "training")))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, *launcher, str(script), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def numbers(row: dict) -> list[float]:
    return [value or 0.0 for value in row.values()]


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this torch has no gloo")
def test_two_processes_give_the_curve_of_one(tmp_path):
    one = train(tmp_path / "one")
    two = train(tmp_path / "two", "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    assert (one[0], two[0]) == (1, 2)
    assert len(one[1]) == len(two[1]) > 100
    for ours, theirs in zip(two[1], one[1], strict=True):
        assert numbers(ours) == pytest.approx(numbers(theirs), rel=1e-5)
    for layer, row in one[2]["one"].items():
        assert two[2]["one"][layer] == pytest.approx(row, rel=1e-5)
