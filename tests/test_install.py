"""The library needs torch, transformers, safetensors, and what these bring; the pipeline's packages stay out of it."""

import ast
import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

BASE = {"torch", "transformers", "safetensors"}
TEN_LINES = """
from transformers import AutoTokenizer

from autocontrastive_gen import AutoMultiExitModel, MultiExitConfiguration, calculate_contrasted_logits, fit_exits

exits = MultiExitConfiguration("SHARED_PROJECTION_CAST_OUTPUTS", lm_head_layer_indices=(2, 4))
model = AutoMultiExitModel.from_pretrained(base, multi_exit_config=exits)
tokenizer = AutoTokenizer.from_pretrained(base)
fitted = fit_exits(model, tokenizer, texts)
model.set_exits(contrast_layer_indices=("original", 4))
prompt = tokenizer("humpty dumpty sat on", return_tensors="pt")
continued = model.generate(**prompt, max_new_tokens=8)
model.save_exits("exits")
again = AutoMultiExitModel.from_pretrained(base, exits="exits")
again.set_exits(contrast_layer_indices=("original", 4))
"""
CHECKS = """
import torch
assert set(fitted.quality["held-out"]) == {"original", "2", "4"} and fitted.curve, fitted
for layer in ("2", "4"):
    assert fitted.quality["held-out"][layer]["agreement"] > untrained.quality["held-out"][layer]["agreement"], fitted
assert tokenizer.decode(continued[0]).startswith("humpty dumpty sat on")
assert torch.equal(again.generate(**prompt, max_new_tokens=8), continued)
upper, lower = model(**prompt).logits, model(**prompt).logits
assert calculate_contrasted_logits(upper, lower).shape == upper.shape
"""
UNTRAINED = """
from transformers import AutoTokenizer
from autocontrastive_gen import AutoMultiExitModel, MultiExitConfiguration, fit_exits
exits = MultiExitConfiguration("SHARED_PROJECTION_CAST_OUTPUTS", lm_head_layer_indices=(2, 4))
plain = AutoMultiExitModel.from_pretrained(base, multi_exit_config=exits)
untrained = fit_exits(plain, AutoTokenizer.from_pretrained(base), texts, method="none")
"""
HIDDEN = """
import sys

class Hiding:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in hidden else self.finder.find_spec(name, path, target)

sys.meta_path[:] = map(Hiding, sys.meta_path)
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
        found.add(normalised(name))
        needed = map(Requirement, requires)
        left |= {r.name for r in needed if r.marker is None or r.marker.evaluate({"extra": ""})} - found
    return found


def normalised(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


def smoke_texts(root: Path) -> list[str]:
    text = (root / "tests/fixtures/smoke/text/made-a.txt").read_text()
    return [part.replace("\n", " ") for part in text.split("\n\n") if part.strip()]


def given(root: Path, smoke_model_folder: Path) -> str:
    return f"import json\nbase, texts = {str(smoke_model_folder)!r}, json.loads({json.dumps(smoke_texts(root))!r})\n"


@pytest.mark.parametrize("room", ["modeling", "training"])
def test_the_library_imports_nothing_else(root, room):
    """Some of what it must not import, such as pydantic, comes with transformers in some versions only."""
    found = set()
    for path in (root / "src/autocontrastive_gen" / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(node.module.partition(".")[0])
    assert "torch" in found
    assert found - set(sys.stdlib_module_names) <= {*BASE, "huggingface_hub", "numpy", "tqdm", "autocontrastive_gen"}


@pytest.mark.slow
def test_ten_lines_without_any_package_of_the_pipeline(root, smoke_model_folder, tmp_path):
    allowed = closure(BASE) | {"autocontrastive-suite"}
    modules = packages_distributions()
    hidden = {name for name, owners in modules.items() if not {normalised(owner) for owner in owners} & allowed}
    assert {"accelerate", "datasets", "pandas", "ruamel", "scipy", "pytest"} <= hidden
    assert not {"torch", "transformers", "numpy", "tqdm", "autocontrastive_gen"} & hidden
    code = f"hidden = {hidden!r}\n{HIDDEN}{given(root, smoke_model_folder)}{UNTRAINED}{TEN_LINES}{CHECKS}"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_the_wheel_runs_beside_its_three_requirements(root, smoke_model_folder, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(root / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, source)
    installed = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", installed]
    subprocess.run([*pip, source], check=True)
    assert (installed / "autocontrastive_gen/py.typed").exists()
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
    begin = f"import sys; sys.path[:0] = [{str(installed)!r}, {str(beside)!r}]\n"
    origin = f"import autocontrastive_gen\nassert autocontrastive_gen.__path__[0].startswith({str(installed)!r})\n"
    absent = 'from importlib.util import find_spec\nassert not find_spec("accelerate") and not find_spec("datasets")\n'
    code = begin + origin + absent + given(root, smoke_model_folder) + UNTRAINED + TEN_LINES + CHECKS
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
