"""Packages that no requirement brings, in the versions of docs/ecosystem.md: the tests that skip without them pass."""

import os
import re
import shutil
import subprocess
import sys

import pytest

TRIED = {"torchao": "0.18.0", "optimum-quanto": "0.2.7", "trl": "1.16.0", "tuned-lens": "0.2.0"}
TESTS = ("test_transformers.py", "test_tuned_lens.py")
SELECTED = "weights_of_eight_bits or trls_data or package_itself"


@pytest.mark.slow
def test_quantised_weights_trl_and_the_lens_package(root, tmp_path):
    pins = [f"{name}=={version}" for name, version in TRIED.items()]
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", tmp_path, *pins, "einops"]
    subprocess.run(pip, check=True)
    shutil.rmtree(tmp_path / "tests", ignore_errors=True)  # a wheel's own, which would hide ours
    pytest_ = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", "-k", SELECTED]
    done = subprocess.run(
        [*pytest_, *(f"tests/modeling/{name}" for name in TESTS)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert "SKIPPED" not in done.stdout


def test_the_docs_name_the_versions_that_are_tried(root):
    page = (root / "docs/ecosystem.md").read_text()
    for name, version in TRIED.items():
        short = re.sub(r"\.0$", "", version)
        assert re.search(rf"{name}[^|]*?\b{re.escape(short)}", page, re.DOTALL), name
