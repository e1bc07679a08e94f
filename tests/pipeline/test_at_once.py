"""Several commands on one run, or on one store, at the same time: nothing is lost or doubled."""

import json
import re
import shutil
import signal
import socket
import sys
import time
import urllib.request
from contextlib import contextmanager, suppress

import pytest
from mlflow import MlflowClient

pytestmark = pytest.mark.slow

STAGE = (sys.executable, "-m")
RUNS = 8
"""Runs of MLflow that the smoke profile makes: seven cells and their parent."""


def ended(process) -> str:
    """What a process said, which must have succeeded."""
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0 and "Traceback" not in output, output
    return output


def test_two_reports_at_once(clone):
    before = clone.results()
    said = [ended(process) for process in [clone.start(*STAGE, "stages.report") for _ in range(3)]]
    assert any("another process renders the report of smoke: waiting until it ends" in output for output in said)
    assert clone.results() == before
    assert not [path for path in (clone.folder / "reports").rglob("*") if path.name.endswith(".tmp")]


def test_a_report_is_not_replaced_with_an_empty_one(clone):
    before = clone.results()
    shutil.rmtree(clone.folder / "runs")
    output = clone.run(*STAGE, "stages.report", code=2)
    assert "index.html: stays" in output and "dvc pull" in output and "Traceback" not in output
    assert clone.results() == before


def test_a_report_before_the_run_begins(clone):
    """`profile use` makes empty folders for DVC where files will be: no result is there, and they give way to files."""
    clone.run(*STAGE, "stages.profile", "use", "paper")
    assert (clone.folder / "reports/paper/metrics.json").is_dir()
    clone.run(*STAGE, "stages.report")
    assert json.loads((clone.folder / "reports/paper/metrics.json").read_text()) == {}
    assert (clone.folder / "reports/paper/index.html").is_file()


def continuations(address: str) -> list[str]:
    """The lines by which the playground of a run continues a prompt, without how fast it was."""
    trial = {"prompt": "Once", "new_tokens": 5, "settings": [{"decoder": {"method": "greedy"}}]}
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/texts", json.dumps(trial).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return [line for line in answer.read().decode().splitlines() if '"pace"' not in line]


def test_a_repro_while_the_playground_runs(clone):
    playground = clone.start(*STAGE, "stages.explore", "--no-browser", "--port", "0")
    try:
        address = next(found[0] for line in playground.stdout if (found := re.search(r"http://127\S+", line)))
        before = continuations(address)
        for stage in ("fetch", "train@tiny"):
            assert clone.repro("--force", "--single-item", stage) == [stage]
        assert continuations(address) == before and '"done": true' in before[-1]
        playground.send_signal(signal.SIGINT)
        assert "Traceback" not in ended(playground)
        assert clone.repro() == []
    finally:
        playground.kill()


@contextmanager
def mlflow_server(clone):
    """Address of a server of MLflow on a database of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    folder, address = clone.folder.parent, f"http://127.0.0.1:{port}"
    stores = ["--backend-store-uri", f"sqlite:///{folder}/store.db", "--artifacts-destination", f"{folder}/artifacts"]
    command = [*STAGE, "mlflow", "server", "--host", "127.0.0.1", "--port", port, "--workers", "1", *stores]
    process = clone.start(*command, start_new_session=True)
    try:
        for _ in range(600):
            assert process.poll() is None, process.stdout.read()
            with suppress(OSError):
                urllib.request.urlopen(f"{address}/health", timeout=2).close()
                break
            time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.communicate(timeout=60)


def test_four_clones_track_to_one_server_at_once(clone):
    clones = [clone]
    for number in range(3):
        folder = clone.folder.with_name(f"clone-{number}")
        shutil.copytree(clone.folder, folder, symlinks=True)
        clones.append(type(clone)(folder))
    with mlflow_server(clone) as address:
        for each in clones:
            each.environment["MLFLOW_TRACKING_URI"] = address
        publishers = [each.start(*STAGE, "stages.track", "--republish") for each in clones]
        for publisher in publishers:
            ended(publisher)
        client = MlflowClient(address)
        runs = client.search_runs([item.experiment_id for item in client.search_experiments()])
        keys = [run.data.tags["cell.key"] for run in runs if "cell.key" in run.data.tags]
        assert len(keys) == len(set(keys)) == RUNS
        assert all(run.info.status == "FINISHED" and "published" in run.data.tags for run in runs)
        parents = {run.data.tags["mlflow.parentRunId"] for run in runs if "mlflow.parentRunId" in run.data.tags}
        assert parents == {run.info.run_id for run in runs if run.data.tags["dvc.stage"] == "pipeline"}
        assert "8 runs unchanged" in clone.run(*STAGE, "stages.track", "--republish")
