"""`pip install .` alone: the wheel beside torch, transformers and safetensors, and what these need, runs."""

import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

BASE = {"torch", "transformers", "safetensors"}
CODE = """
import sys
from importlib.util import find_spec
for name in ("dvc", "mlflow", "lm_eval", "datasets", "pandas", "accelerate", "peft"):
    assert find_spec(name) is None, name
from transformers import AutoTokenizer

from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration, VocabularyProjectionMode
import autocontrastive_gen
assert autocontrastive_gen.__path__[0].startswith(sys.argv[1]), autocontrastive_gen.__path__

multi_exit_config = MultiExitConfiguration(
    vocab_projection_mode=VocabularyProjectionMode.SHARED_PROJECTION_DIRECT,
    use_original_head=False, contrast_layer_indices=("original", 2),
)
model = AutoMultiExitModel.from_pretrained(sys.argv[2], multi_exit_config=multi_exit_config)
tokenizer = AutoTokenizer.from_pretrained(sys.argv[2])
prompt = tokenizer("humpty dumpty sat on", return_tensors="pt")
generated_ids = model.generate(**prompt, max_new_tokens=15)
assert tokenizer.batch_decode(generated_ids)[0].startswith("humpty dumpty sat on")
"""


def closure(names: set[str]) -> set[str]:
    """The distributions that these need, extras aside."""
    found, left = set(), set(names)
    while left:
        name = left.pop()
        try:
            requires = distribution(name).requires or []
        except PackageNotFoundError:  # for another platform or interpreter
            continue
        found.add(re.sub("[-_.]+", "-", name).lower())
        needed = map(Requirement, requires)
        left |= {r.name for r in needed if r.marker is None or r.marker.evaluate({"extra": ""})} - found
    return found


@pytest.mark.slow
def test_the_wheel_runs_beside_its_three_requirements(root, smoke_model_folder, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(root / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, source)
    installed = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", installed]
    subprocess.run([*pip, source], check=True)
    (metadata,) = installed.glob("*.dist-info/METADATA")
    required = [Requirement(line) for line in re.findall("^Requires-Dist: (.*)", metadata.read_text(), re.MULTILINE)]
    assert {r.name for r in required if r.marker is None} == BASE
    beside = tmp_path / "beside"
    beside.mkdir()
    for name in closure(BASE):
        files = distribution(name).files or []
        for part in {file.parts[0] for file in files if file.parts[0] not in ("..", "__pycache__")}:
            target = Path(distribution(name).locate_file(part))
            if target.exists() and not (beside / part).exists():
                (beside / part).symlink_to(target)
    begin = f"import sys; sys.path[:0] = [{str(installed)!r}, {str(beside)!r}]"
    command = [sys.executable, "-I", "-S", "-c", begin + CODE, str(installed), str(smoke_model_folder)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
