"""A hub on this machine: the part of the Hugging Face hub's HTTP interface that pushing and pulling a folder uses."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

COMMIT = hashlib.sha1(b"the only commit").hexdigest()
Repositories = dict[str, dict[str, bytes]]


class _Hub(BaseHTTPRequestHandler):
    repositories: Repositories
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            self.repositories.setdefault(name, {})
            self._json({"url": self._url(name), "name": name, "id": name})
        elif self.path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif match := re.fullmatch("/api/models/(.+)/preupload/main", self.path):
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]
            ]
            self._json({"files": files})
        elif match := re.fullmatch("/api/models/(.+)/commit/main", self.path):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.repositories[match[1]][line["value"]["path"]] = content
            url = f"{self._url(match[1])}/commit/{COMMIT}"
            self._json({"success": True, "commitOid": COMMIT, "commitUrl": url, "hookOutput": ""})
        else:
            self._missing()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if match := re.fullmatch(f"/(.+)/resolve/(?:main|{COMMIT})/(.+)", path):
            content = self.repositories.get(match[1], {}).get(match[2])
            if content is not None:
                return self._send(content, {"ETag": f'"{hashlib.sha1(content).hexdigest()}"'})
        elif (match := re.fullmatch("/api/models/(.+?)(?:/revision/main)?", path)) and match[1] in self.repositories:
            files = [{"rfilename": name} for name in self.repositories[match[1]]]
            return self._json({"id": match[1], "sha": COMMIT, "siblings": files, "tags": [], "private": False})
        self._missing()

    do_HEAD = do_GET

    def _url(self, name: str) -> str:
        return f"http://{self.headers['Host']}/{name}"

    def _json(self, content: dict) -> None:
        self._send(json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _missing(self) -> None:
        self._send(b"", {"X-Error-Code": "EntryNotFound"}, 404)

    def _send(self, content: bytes, headers: dict[str, str], status: int = 200) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), "X-Repo-Commit": COMMIT, **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def local_hub() -> Iterator[tuple[str, Repositories]]:
    """Its address, for HF_ENDPOINT, and what lies in it: repository -> path -> content."""
    handler = type("Hub", (_Hub,), {"repositories": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler.repositories
    finally:
        server.shutdown()
        server.server_close()
