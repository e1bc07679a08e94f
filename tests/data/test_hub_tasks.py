"""``python -m stages.fetch --tasks`` against a hub on loopback, with the real command and libraries."""

import json
import os
import re
import shutil
import subprocess
import sys
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs

import pytest

from autocontrastive_gen.foundation.files import read_json
from tests.data.test_bundles import HUB, evaluate

ROOT = Path(__file__).parents[2]
COMMIT = sha1(b"a commit").hexdigest()
TASKS = {"piqa": ("baber/piqa", None), "lambada_openai": ("EleutherAI/lambada_openai", "default")}


class DataHub(BaseHTTPRequestHandler):
    """Data sets of jsonl files: the hub's description of a repository, its tree, and its files."""

    protocol_version = "HTTP/1.1"
    repositories: dict[str, dict[str, bytes]]

    def do_GET(self):
        path = self.path.partition("?")[0]
        if match := re.fullmatch(f"/datasets/(.+)/resolve/(?:main|{COMMIT})/(.+)", path):
            content = self.repositories.get(match[1], {}).get(match[2])
            if content is not None:
                return self._send(content, {"ETag": f'"{sha1(content).hexdigest()}"'})
        elif match := re.fullmatch(f"/api/datasets/(.+)/tree/(?:main|{COMMIT})(?:/(.*))?", path):
            files = [name for name in self.repositories[match[1]] if not match[2] or name.startswith(match[2] + "/")]
            return self._json([self._entry(match[1], name) for name in files])
        elif (match := re.fullmatch(f"/api/datasets/([^/]+/[^/]+)(?:/revision/(?:main|{COMMIT}))?", path)) and match[
            1
        ] in self.repositories:
            files = [{"rfilename": name} for name in self.repositories[match[1]]]
            about = {"id": match[1], "sha": COMMIT, "siblings": files, "tags": [], "cardData": {"license": "mit"}}
            return self._json(about)
        self._send(b"", {"X-Error-Code": "EntryNotFound"}, 404)

    do_HEAD = do_GET

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        match = re.fullmatch("/api/datasets/(.+)/paths-info/(.+)", self.path)
        paths = json.loads(body)["paths"] if body.startswith("{") else parse_qs(body)["paths"]
        files = self.repositories[match[1]]
        self._json([self._entry(match[1], name) for name in paths if name in files])

    def _entry(self, repository: str, name: str) -> dict:
        content = self.repositories[repository][name]
        return {"type": "file", "path": name, "size": len(content), "oid": sha1(content).hexdigest()}

    def _json(self, content):
        self._send(json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _send(self, content, headers, status=200):
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), "X-Repo-Commit": COMMIT, **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def data_hub():
    """Address of a hub that holds the made-up items."""
    repositories = {}
    for dataset, configuration in TASKS.values():
        files = {
            f"{split}.jsonl": "".join(json.dumps(row) + "\n" for row in rows).encode()
            for split, rows in HUB[dataset, configuration].items()
        }
        repositories[dataset] = {"README.md": b"---\nlicense: mit\n---\n", **files}
    handler = type("Handler", (DataHub,), {"repositories": repositories})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def fetch(project: Path, *arguments: str, **environment: str):
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]), "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(project / "home"), "HF_DATASETS_CACHE": str(project / "home/data"), **environment,
    }  # fmt: skip
    command = [sys.executable, "-m", "stages.fetch", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


@pytest.mark.slow
def test_tasks_of_a_hub_run_without_it(project, data_hub):
    done = fetch(project, "--tasks", *TASKS, "--to", "bundle", HF_ENDPOINT=data_hub, HF_HUB_OFFLINE="0")
    assert done.returncode == 0 and "2 tasks in bundle" in done.stderr, done.stderr[-3000:]
    for task, about in read_json("bundle/bundle.json")["tasks"].items():
        assert (about["source"], about["revision"], about["licence"]) == ("hub", COMMIT, "mit")
        assert about["dataset"] == TASKS[task][0]
        for split, file in about["splits"].items():
            assert file["rows"] == len(HUB[TASKS[task]][split]) and len(file["sha256"]) == 64
    shutil.rmtree(project / "home")
    requests, _ = evaluate([Path("bundle")], TASKS)
    rows = HUB["baber/piqa", None]["validation"]
    assert [request[0] for request in requests["piqa"][::2]] == [f"Question: {row['goal']}\nAnswer:" for row in rows]
    done = fetch(project, "--tasks", *TASKS, "--given", "bundle", "--to", "again", HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    assert Path("again/bundle.json").read_text() == Path("bundle/bundle.json").read_text()


@pytest.mark.slow
def test_an_unreachable_hub_is_named_with_the_remedy(project):
    done = fetch(project, "--tasks", "piqa", HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_OFFLINE="0")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "baber/piqa could not be fetched" in done.stderr and "bundle/TASK/" in done.stderr
