"""The part of the hub's HTTP interface through which ``datasets`` streams the files of a repository, on loopback."""

import hashlib
import http.server
import json
import re
import threading
from urllib.parse import unquote

COMMIT = hashlib.sha1(b"the commit").hexdigest()


class DatasetHub:
    """One data set repository of the given files; ``read`` counts the bytes of files that were requested."""

    def __init__(self, repo: str, files: dict[str, bytes]) -> None:
        self.repo, self.files, self.read, self.paths = repo, files, 0, []
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                hub.answer(self)

            do_HEAD = do_POST = do_GET

            def log_message(self, *args):
                pass

        self.httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.httpd.server_port}"
        threading.Thread(target=self.httpd.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.httpd.shutdown()
        self.httpd.server_close()

    def answer(self, request) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        path = unquote(request.path.partition("?")[0])
        self.paths.append(f"{request.command} {path}")
        api, revision = f"/api/datasets/{self.repo}", f"(?:main|{COMMIT})"
        entries = [self._entry(name) for name in self.files]
        if re.fullmatch(f"{api}(/revision/{revision})?", path):
            siblings = [{"rfilename": entry["path"], "size": entry["size"]} for entry in entries]
            info = {"id": self.repo, "sha": COMMIT, "siblings": siblings, "tags": [], "private": False}
            return self._send(request, json.dumps(info).encode())
        if re.fullmatch(f"{api}/paths-info/{revision}", path):
            asked = json.loads(body)["paths"] if body.startswith(b"{") else unquote(body.decode())
            return self._send(request, json.dumps([e for e in entries if e["path"] in asked]).encode())
        if match := re.fullmatch(f"{api}/tree/{revision}/?(.*)", path):
            return self._send(request, json.dumps([e for e in entries if e["path"].startswith(match[1])]).encode())
        if (match := re.fullmatch(f"/datasets/{self.repo}/resolve/{revision}/(.+)", path)) and match[1] in self.files:
            return self._file(request, self.files[match[1]])
        self._send(request, b"{}", 404)

    def _entry(self, name: str) -> dict:
        content = self.files[name]
        return {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}

    def _file(self, request, content: bytes) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
        start, end = (int(asked[1]), int(asked[2] or len(content) - 1)) if asked else (0, len(content) - 1)
        part = content[start : end + 1]
        self.read += len(part) if request.command == "GET" else 0
        headers = {"ETag": '"v1"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if asked:
            headers["Content-Range"] = f"bytes {start}-{start + len(part) - 1}/{len(content)}"
        self._send(request, part, 206 if asked else 200, headers)

    def _send(self, request, content: bytes, code: int = 200, headers: dict | None = None) -> None:
        request.send_response(code)
        for name, value in {"Content-Length": str(len(content)), "Content-Type": "application/json"}.items():
            request.send_header(name, value)
        for name, value in (headers or {}).items():
            request.send_header(name, value)
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(content)
