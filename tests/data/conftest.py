"""A working directory of its own for every test, and a web server on loopback that can break connections."""

import base64
import http.server
import threading
from pathlib import Path

import pytest

from autocontrastive_gen.data import download


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project's root as the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Server:
    """Serves ``files`` {name: bytes} with ranges; ``cut`` breaks each answer off after that many bytes."""

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.cut: int | None = None
        self.ranges = True
        self.status = 200
        """Of an answer with the whole file."""
        self.credentials: str | None = None
        """"user:password" that every request must have."""
        self.requests: list[tuple[str, int]] = []
        """(name, first byte) of each request."""
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                server.answer(self)

            def log_message(self, *args):
                pass

        self.httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.httpd.serve_forever, args=(0.01,), daemon=True).start()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.httpd.server_port}/{name}"

    def answer(self, handler) -> None:
        name = handler.path.lstrip("/")
        start = int(handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        expected = self.credentials and "Basic " + base64.b64encode(self.credentials.encode()).decode()
        if expected and handler.headers.get("Authorization") != expected:
            handler.send_error(401)
            return
        self.requests.append((name, start))
        content = self.files.get(name)
        if content is None:
            handler.send_error(404)
            return
        if not self.ranges:
            start = 0
        if start >= len(content) and start:
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(content)}")
            handler.end_headers()
            return
        handler.send_response(206 if start else self.status)
        handler.send_header("Content-Length", str(len(content) - start))
        handler.send_header("ETag", '"v1"')
        handler.end_headers()
        rest = content[start:]
        handler.wfile.write(rest if self.cut is None else rest[: self.cut])


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.0)
    monkeypatch.setattr(download, "TIMEOUT", 5.0)
    server = Server()
    yield server
    server.httpd.shutdown()
    server.httpd.server_close()


@pytest.fixture
def smoke_folder() -> Path:
    return Path(__file__).parents[1] / "fixtures" / "smoke"
