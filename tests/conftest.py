"""Tiny random models and the processes' settings, for the whole suite."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["DVC_NO_ANALYTICS"] = "1"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "1"

import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SMOKE = ROOT / "tests" / "fixtures" / "smoke"


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root."""
    return ROOT


@pytest.fixture(scope="session")
def smoke_model_folder() -> Path:
    """A tiny random GPT-2 with its tokenizer."""
    return SMOKE / "model"


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """An empty working directory with the profiles and smoke's fixtures, for commands that read params.yaml."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "fixtures").symlink_to(ROOT / "tests" / "fixtures")
    shutil.copyfile(ROOT / "conf/profiles/smoke.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pytest_collection_modifyitems(items):
    """Slow files first: with two workers the longest one decides when the suite ends."""
    items.sort(key=lambda item: "pipeline" not in item.nodeid)
