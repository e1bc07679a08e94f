"""Tiny random models and the processes' settings, for the whole suite."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["DVC_NO_ANALYTICS"] = "1"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "1"

import gc
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import hypothesis
import pytest

gc.set_threshold(50_000)  # as commands do: what later imports make lives to the end
# the same examples in every run
hypothesis.settings.register_profile("suite", derandomize=True, database=None, deadline=None)
hypothesis.settings.load_profile("suite")
# a suite in the background of a script ignores Ctrl-C, and so would every command that the tests start and stop
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent
SMOKE = ROOT / "tests" / "fixtures" / "smoke"
MADE_ONCE = ("alone", "postgres")
"""Fixtures of slow tests that take long to make."""


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the marks in the same hook
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Shares of the workers, the long ones first: with two workers the longest one decides when the suite ends.

    Of the fast tests a share is a file; those that need a finished run are one, so that it is made once. A slow test is
    a share of its own, but for those that need one of ``MADE_ONCE``. The tests of the wheel run without pytest-xdist,
    which alone knows the mark.
    """
    if not config.pluginmanager.hasplugin("xdist"):
        return

    def needs_the_run(item: pytest.Item) -> bool:
        return "finished" in getattr(item, "fixturenames", ()) and not item.get_closest_marker("slow")

    items.sort(key=lambda item: (not needs_the_run(item), "pipeline" not in item.nodeid))
    for item in items:
        share = next((name for name in MADE_ONCE if name in getattr(item, "fixturenames", ())), None)
        if not item.get_closest_marker("slow"):
            share = "finished" if needs_the_run(item) else str(item.path.relative_to(ROOT))
        if share:
            item.add_marker(pytest.mark.xdist_group(share))


def pytest_collection_finish() -> None:
    """Leave what imports and collection made out of every later search for garbage."""
    gc.freeze()


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root."""
    return ROOT


@pytest.fixture(scope="session")
def smoke_model_folder() -> Path:
    """A tiny random GPT-2 with its tokenizer."""
    return SMOKE / "model"


@pytest.fixture(scope="session")
def smoke_params() -> str:
    """The text of params.yaml under the profile smoke."""
    from autocontrastive_gen.experiment.params import load_profile
    from autocontrastive_gen.experiment.rendering import render

    return render(load_profile("smoke"))


@pytest.fixture
def project(tmp_path, monkeypatch, smoke_params) -> Path:
    """An empty working directory with the profiles and smoke's fixtures, for commands that read params.yaml."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "fixtures").symlink_to(ROOT / "tests" / "fixtures")
    (tmp_path / "params.yaml").write_text(smoke_params)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def bucket(tmp_path, monkeypatch) -> Iterator[str]:
    """Address of an S3-compatible server with an empty bucket ``bucket``; credentials are in the environment."""
    for key, value in (("ACCESS_KEY_ID", "key"), ("SECRET_ACCESS_KEY", "secret"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{key}", value)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with open(tmp_path / "s3.log", "w") as log:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        for _ in range(300):
            assert process.poll() is None, (tmp_path / "s3.log").read_text()
            with suppress(OSError):
                urllib.request.urlopen(urllib.request.Request(f"{address}/bucket", method="PUT"), timeout=5).close()
                break
            time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=30)


VOWELS = '''
"""Share of vowels among the characters of a text: made up for a test."""

from autocontrastive_gen.evaluation.metrics import TextMetric


def _per_text(texts, context):
    continuations = [row["continuation"] for rows in texts.values() for row in rows]
    return {"vowels": [sum(map(text.count, "aeiou")) / len(text) for text in continuations]}


METRICS = (
    TextMetric(
        key="vowels",
        title="Vowels",
        unit="0–1",
        meaning="share of vowels",
        direction="lower",
        headline=True,
        columns=("vowels",),
        per_text=_per_text,
    ),
)
'''


@pytest.fixture
def vowels(tmp_path_factory, monkeypatch) -> Iterator[str]:
    """Key of a made-up metric, added as a user would: one file in the package of metrics."""
    from autocontrastive_gen.evaluation import metrics
    from autocontrastive_gen.evaluation.metrics import catalogue

    folder = tmp_path_factory.mktemp("metric")
    (folder / "vowels.py").write_text(VOWELS)
    monkeypatch.setattr(metrics, "__path__", [*metrics.__path__, str(folder)])
    catalogue.declared.cache_clear()
    yield "vowels"
    catalogue.declared.cache_clear()
    sys.modules.pop(f"{metrics.__name__}.vowels", None)
