"""Open MLflow at the runs of params.yaml, with the columns that ``track`` chose. This is not a stage of the pipeline.

A database is served on 127.0.0.1 until Ctrl-C; the server of ``MLFLOW_TRACKING_URI`` is opened directly.

Examples:

    acd ui
    acd ui --port 5050
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
import webbrowser
from typing import Annotated

import typer

from autocontrastive_gen.experiment.cell_command import current_profile
from autocontrastive_gen.experiment.plan_file import read_plan
from autocontrastive_gen.foundation.command_line import command
from autocontrastive_gen.foundation.errors import FileError, InputError
from autocontrastive_gen.foundation.files import SCRATCH
from autocontrastive_gen.review.mlflow_view import address
from autocontrastive_gen.review.tracking import TrackingError, store_faults, tracking_uri

log = logging.getLogger(__name__)


def main(
    port: Annotated[int, typer.Option(min=1, max=65535, help="port of the server on 127.0.0.1")] = 5000,
) -> None:
    uri, name = tracking_uri(), read_plan(current_profile(), "track", "experiment")
    try:
        experiment = find_experiment(uri, name)
    except TrackingError as error:
        raise FileError(str(error)) from error
    if uri.startswith("http"):
        show(address(uri, experiment))
        return
    if answers(port):
        raise FileError(f"port {port} on 127.0.0.1 is in use; choose another one, such as --port {port + 1}")
    command = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    environment = {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }  # starts workers for features that are not used here
    said = SCRATCH / "logs" / "mlflow.log"
    said.parent.mkdir(parents=True, exist_ok=True)
    with open(said, "w") as file:
        options = {"env": environment, "stdout": file, "stderr": file, "start_new_session": True}
        server = subprocess.Popen([*command, "--backend-store-uri", uri], **options)
        try:
            while server.poll() is None and not answers(port):
                time.sleep(0.2)
            if server.poll() is None:
                show(address(f"http://127.0.0.1:{port}", experiment))
            if server.wait():
                raise FileError(f"MLflow's server ended with exit code {server.returncode}; its output is in {said}")
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGTERM)  # the server and its workers
                server.wait()


def find_experiment(uri: str, name: str) -> str:
    """The id of the experiment.

    Raises:
        InputError: nothing has been published to it yet.
    """
    from mlflow import MlflowClient

    with store_faults():
        found = MlflowClient(uri).get_experiment_by_name(name)
    if found is None:
        raise InputError(
            f"MLflow has no experiment {name!r} (track.experiment) yet; `dvc repro` or `make track` publishes to it"
        )
    return found.experiment_id


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def show(page: str) -> None:
    log.info("%s", page)
    webbrowser.open(page)  # without a browser, the line above is all there is


app = command(main, "ui", __doc__)

if __name__ == "__main__":
    app(prog_name="python -m stages.ui")
