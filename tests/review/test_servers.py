"""Real servers on loopback: MLflow on PostgreSQL and with a bucket for artifacts, published to, stopped, started
again, compared with; and its page in a real browser."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow import MlflowClient

from autocontrastive_gen.experiment.lock import read_lock
from autocontrastive_gen.review.compare import Change, compare
from autocontrastive_gen.review.records import read_cells
from autocontrastive_gen.review.snapshots import find_state
from autocontrastive_gen.review.tracking import TrackingError, publish

pytestmark = pytest.mark.slow

RUNS = 8  # six cells and their parent


def postgres_tool(name: str) -> str:
    """Path of a program of PostgreSQL; Debian keeps the server's beside the PATH."""
    places = [os.environ["PATH"], *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))]
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        missing(f"needs PostgreSQL: no {name} here (Debian's package postgresql)")
    return found


def missing(reason: str) -> None:
    """Skip on a user's machine; CI has what it takes, so there it is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def wait_for(ready, process: subprocess.Popen, seconds: int = 120) -> None:
    for _ in range(seconds * 5):
        assert process.poll() is None, f"{process.args[0]} ended with {process.returncode}"
        if ready():
            return
        time.sleep(0.2)
    raise AssertionError(f"{process.args[0]} was not ready within {seconds} s")


@contextmanager
def running(*command: str, ready, **options) -> Iterator[None]:
    """A server, until the block ends."""
    process = subprocess.Popen(command, start_new_session=True, **options)
    try:
        wait_for(ready, process)
        yield
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=60)


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """URI of an empty database. PostgreSQL refuses to run as root, so root hands it to the user that Debian makes."""
    if importlib.util.find_spec("psycopg") is None:
        missing("needs the PostgreSQL driver: pip install 'psycopg[binary]'")
    initdb, server, is_ready = map(postgres_tool, ("initdb", "postgres", "pg_isready"))
    user = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        if user:
            shutil.chown(folder, "postgres", "postgres")
        data, port, quiet = f"{folder}/data", str(free_port()), {"stdout": subprocess.DEVNULL, "cwd": folder}
        subprocess.run([initdb, "-D", data, "-U", "tracker", "-A", "trust", "--no-sync"], check=True, **quiet, **user)

        def ready():
            return subprocess.run([is_ready, "-h", "127.0.0.1", "-p", port], **quiet).returncode == 0

        options = ("-D", data, "-h", "127.0.0.1", "-p", port, "-k", folder, "-c", "fsync=off")
        with running(server, *options, ready=ready, stderr=subprocess.DEVNULL, **quiet, **user):
            yield f"postgresql://tracker@127.0.0.1:{port}/postgres"


@pytest.fixture
def mlflow_server(postgres, tmp_path_factory):
    """Starts an MLflow server on the database, at the same address every time, with a folder for artifacts."""
    folder, port = tmp_path_factory.mktemp("artifacts"), free_port()
    address = f"http://127.0.0.1:{port}"

    def ready():
        try:
            return urllib.request.urlopen(f"{address}/health", timeout=2).status == 200
        except (urllib.error.URLError, OSError):
            return False

    def start(artifacts: str = str(folder), **environment: str):
        command = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--workers",
            "1",
        ]
        store = ["--backend-store-uri", postgres, "--artifacts-destination", artifacts]
        log = open(folder.parent / "mlflow.log", "w")
        options = {"stdout": log, "stderr": log, "env": {**os.environ, **environment}}
        return running(*command, *store, ready=ready, **options)

    return address, folder, start


def store_parent(client: MlflowClient, experiment: str) -> str:
    """Id of the newest run that holds a pipeline."""
    return client.search_runs([experiment], "tags.`dvc.stage` = 'pipeline'")[0].info.run_id


def publish_all(run) -> dict[str, int]:
    return publish("smoke", run.plan, read_lock(), read_cells("smoke", run.plan, read_lock()))


def test_a_server_on_postgresql_is_filled_and_caught_up_with(small_run, mlflow_server, monkeypatch):
    address, artifacts, start = mlflow_server
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("DVC_EXP_NAME", "first")
    with start():
        assert publish_all(small_run) == {"created": RUNS, "updated": 0, "unchanged": 0}
        assert publish_all(small_run) == {"created": 0, "updated": 0, "unchanged": RUNS}
    assert list(artifacts.rglob("per_prompt.csv")) and list(artifacts.rglob("index.html"))

    small_run.learning_rate = 0.5
    small_run.write()
    monkeypatch.setenv("DVC_EXP_NAME", "second")
    with pytest.raises(TrackingError, match="make track"):
        publish_all(small_run)

    with start():
        assert publish_all(small_run) == {"created": 2, "updated": 0, "unchanged": RUNS - 2}
        difference = compare(find_state("smoke-first"), find_state("smoke-second"))
        assert difference.params == [Change("train.learning_rate", "0.001", "0.5")]
        row = next(row for row in difference.metrics if row.setting == "greedy-acd" and row.metric == "coherence")
        assert row.paired.difference.n == 8, "values by prompt come from the server's artifacts"
        assert not Path("mlruns").exists() and not Path("mlartifacts").exists()


def test_publishers_on_many_machines_do_not_double(small_run, mlflow_server, bucket, monkeypatch):
    """Four projects without a common lock publish the same run at once; the artifacts go into a bucket."""
    address, _, start = mlflow_server
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    small_run.top_p = 0.25  # cells that the database has not seen
    small_run.write()
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'src'}"}
    with start("s3://bucket/mlflow", MLFLOW_S3_ENDPOINT_URL=bucket):
        copies = [Path(f"copy{i}") for i in range(4)]
        for copy in copies:
            shutil.copytree(".", copy, ignore=shutil.ignore_patterns("copy*", "mlflow.db"))
        command = [sys.executable, "-m", "stages.track", "--republish"]
        processes = [subprocess.Popen(command, cwd=copy, env=environment) for copy in copies]
        assert [process.wait(timeout=300) for process in processes] == [0] * 4
        client = MlflowClient(address)
        experiment = client.get_experiment_by_name("small").experiment_id
        for name, entry in read_lock().items():
            if "@" in name:
                found = client.search_runs([experiment], f"tags.`cell.key` = '{entry.key}'")
                assert [run.info.status for run in found] == ["FINISHED"], name
        page = client.download_artifacts(store_parent(client, experiment), "index.html")
        assert small_run.title in Path(page).read_text()
    listing = urllib.request.urlopen(f"{bucket}/bucket?list-type=2").read().decode()
    assert "artifacts/per_prompt.csv" in listing and "artifacts/index.html" in listing


def test_the_page_of_mlflow_opens_with_the_columns_chosen(small_run):
    """`make ui`: settings one below the other, a column for each metric of the texts and each benchmark's."""
    browser = shutil.which("chromium") or missing("needs the browser chromium (Debian's package of that name)")
    publish_all(small_run)
    port = free_port()
    command = [sys.executable, "-m", "stages.ui", "--port", str(port)]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'src'}", "BROWSER": "touch"}
    ui = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        address = next(line for line in ui.stderr if "http://127.0.0.1" in line).removeprefix("ui: ").strip()
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=2600,900", "--dump-dom"]
        shown = subprocess.run(
            [browser, *options, f"--user-data-dir={Path.cwd() / 'browser'}", "--virtual-time-budget=20000", address],
            capture_output=True,
            text=True,
            timeout=120,
        ).stdout
    finally:
        ui.send_signal(signal.SIGINT)
        assert ui.wait(timeout=60) == 130
    for name in ("made-a/diversity", "made-b/coherence", "last-word/acc", ">greedy-acd<"):
        assert name in shown, name
    assert ">benchmark acd<" not in shown, "a setting has one row"
    assert "viewing a shared view" in shown and "made-a/diversity_low" not in shown and ">train<" not in shown
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", port)), "Ctrl-C has stopped the server, too"
