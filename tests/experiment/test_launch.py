"""A stage starts itself again under the launcher of params.yaml, once."""

import sys

import pytest

from autocontrastive_gen.experiment.launch import relaunched
from autocontrastive_gen.foundation.environment import threads

MODULE = """
import os, sys
from pathlib import Path
Path("seen").write_text(" ".join([*sys.argv[1:], os.environ["RANK"]]))
sys.exit(int(os.environ.get("CODE", 0)))
"""


@pytest.fixture
def launcher(project, monkeypatch):
    """Sets the launcher of params.yaml to one that gives its process a rank."""
    (project / "worker.py").write_text(MODULE)
    for variable in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(sys, "argv", ["stages/train.py", "--model", "tiny"])
    text = (project / "params.yaml").read_text()

    def put(command: str) -> None:
        assert 'launcher: ""' in text
        (project / "params.yaml").write_text(text.replace('launcher: ""', f"launcher: {command}"))

    return put


def test_nothing_is_launched_without_a_launcher_or_inside_one(project, launcher, monkeypatch):
    assert not relaunched("worker")
    launcher("env RANK=0 python")
    monkeypatch.setenv("RANK", "0")
    assert not relaunched("worker")
    assert not (project / "seen").exists()


def test_the_module_runs_under_the_launcher_with_the_arguments(project, launcher):
    launcher(f"env RANK=3 {sys.executable}")
    assert relaunched("worker")
    assert (project / "seen").read_text() == "--model tiny 3"


def test_a_failure_ends_with_the_exit_code(launcher, monkeypatch):
    launcher(f"env RANK=3 {sys.executable}")
    monkeypatch.setenv("CODE", "2")
    with pytest.raises(SystemExit) as end:
        relaunched("worker")
    assert end.value.code == 2


def test_a_launcher_that_does_not_exist_is_named(launcher):
    launcher("no-such-launcher --processes 2")
    with pytest.raises(FileNotFoundError, match="no command 'no-such-launcher'"):
        relaunched("worker")


@pytest.mark.parametrize(("value", "expected"), [("4,2", 4), ("3", 3), (" 2 , 1", 2), ("", 7)])
def test_threads_are_the_first_level_of_openmp(monkeypatch, value, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert threads(7) == expected


@pytest.mark.parametrize("value", ["many", "0", "-1,2"])
def test_a_number_of_threads_that_is_not_a_number_is_named(monkeypatch, value):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    with pytest.raises(ValueError, match=f"OMP_NUM_THREADS={value}: allowed"):
        threads(7)
