"""Results travel with git and a DVC remote; queued experiments and clones fill the right MLflow."""

import shutil
import sqlite3

import pytest

pytestmark = pytest.mark.slow

RUNS = 8  # train, select, two generate, score, two benchmark, and their parent


def tracked(clone) -> list[str]:
    """Names of the runs in the project's MLflow."""
    with sqlite3.connect(clone.folder / "mlflow.db") as database:
        return [name for (name,) in database.execute("SELECT name FROM runs WHERE lifecycle_stage = 'active'")]


@pytest.fixture
def committed(clone):
    clone.run("git", "add", "--force", "dvc.lock", "reports/smoke")
    clone.run("git", "commit", "--quiet", "--message", "Results")
    return clone


@pytest.fixture(params=[pytest.param("folder", marks=pytest.mark.exhaustive), "s3"])
def remote(request, tmp_path) -> list[list[str]]:
    """Commands that make a folder, or a bucket of an S3-compatible server, the default remote of a project."""
    if request.param == "folder":
        return [["dvc", "remote", "add", "--default", "storage", str(tmp_path / "storage")]]
    address = request.getfixturevalue("bucket")
    return [
        ["dvc", "remote", "add", "--default", "storage", "s3://bucket/autocontrastive"],
        ["dvc", "remote", "modify", "storage", "endpointurl", address],
    ]


def test_a_clone_with_the_remote_runs_nothing(remote, committed, tmp_path):
    clone, copy = committed, type(committed)(tmp_path / "copy")
    for command in remote:
        clone.run(*command)
    clone.run("git", "commit", "--quiet", "--all", "--message", "Remote")
    clone.run("dvc", "push", "--run-cache")
    clone.run("git", "clone", "--quiet", str(clone.folder), str(copy.folder))
    before = committed.results()
    shutil.rmtree(clone.folder)  # nothing but git and the remote is left
    assert copy.repro("--pull") == []
    assert copy.results() == before
    assert not (copy.folder / "mlflow.db").exists()
    for _ in range(2):
        copy.run("python", "-m", "stages.track", "--republish")
        assert len(tracked(copy)) == RUNS
    assert copy.run("git", "status", "--short") == "" and copy.repro() == []


def test_an_experiment_in_a_temporary_copy_is_tracked_in_the_project_and_compared(committed):
    committed.run("dvc", "exp", "run", "--temp", "--name", "bolder", "--set-param", "contrasts.acd.alpha=0.5")
    names = tracked(committed)
    # the changed cells: generate and benchmark with contrast, score, and a parent
    assert len(names) == RUNS + 5 and names.count("smoke-bolder") == 1
    assert names.count("greedy") == 1 and names.count("greedy-acd") == 2
    printed = committed.run("python", "-m", "stages.compare", "HEAD", "bolder", "--html", "page.html")
    assert "contrasts.acd.alpha" in printed and "generate@tiny-greedy-acd" in printed
    assert "contrasts.acd.alpha" in (committed.folder / "page.html").read_text()
    same = committed.run("python", "-m", "stages.compare", "bolder", "smoke-bolder")
    assert "Parameters: no difference" in same and "Metrics: no difference" in same


def test_a_dead_server_fails_only_track_and_the_next_repro_catches_up(committed):
    committed.environment["MLFLOW_TRACKING_URI"] = "http://127.0.0.1:9"
    committed.edit("method: acd, alpha: 0.1", "method: acd, alpha: 0.5")
    output = committed.run("dvc", "repro", code=None)
    assert "results are safe" in output and "Traceback" not in output
    assert not (committed.folder / "runs/smoke/track/receipt.json").exists()
    del committed.environment["MLFLOW_TRACKING_URI"]
    assert committed.repro() == ["track"]
    assert len(tracked(committed)) == RUNS + 5
