"""A page in headless Chromium, driven over the DevTools protocol through a pipe: no port, no package, no network."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
)


class Page:
    """One tab. What its script logs as an error, or fails to load, is kept in ``complaints``."""

    def __init__(self, chromium: str, folder: Path, address: str, width: int = 1280, height: int = 900, dark=False):
        (theirs_in, self._out), (self._in, theirs_out) = os.pipe(), os.pipe()

        def at_three_and_four():
            """Chromium reads from descriptor 3 and writes to 4."""
            reading, writing = os.dup(theirs_in), os.dup(theirs_out)
            os.dup2(reading, 3)
            os.dup2(writing, 4)

        command = [chromium, *OPTIONS, "--remote-debugging-pipe", f"--user-data-dir={folder}", "about:blank"]
        self._process = subprocess.Popen(
            [*command, "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"],
            preexec_fn=at_three_and_four,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in), os.close(theirs_out)
        self._rest, self._number, self._session = b"", 0, None
        self.complaints: list[str] = []
        target = next(it for it in self.ask("Target.getTargets")["targetInfos"] if it["type"] == "page")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        self.resize(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.open(address)

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command of the protocol."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self._listen(answer)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._in, 1 << 16)
            assert part, "Chromium has ended"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _listen(self, event: dict[str, Any]) -> None:
        of = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(of["exceptionDetails"].get("exception", {}).get("description", "an exception"))
        elif event.get("method") == "Log.entryAdded" and of["entry"]["level"] == "error":
            self.complaints.append(of["entry"]["text"])

    def resize(self, width: int, height: int) -> None:
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def open(self, address: str) -> None:
        self.ask("Page.navigate", url=address)
        self.until("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of an expression of JavaScript, awaited if it is a promise."""
        options = {"awaitPromise": True, "returnByValue": True, "userGesture": True}
        found = self.ask("Runtime.evaluate", expression=script, **options)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, condition: str, seconds: int = 60) -> None:
        """Wait until an expression is true, looking at every tenth of a second."""
        waiting = (
            "new Promise((yes, no) => { const end = Date.now() + %d; const look = () => { let is = false; "
            "try { is = Boolean(%s); } catch {} if (is) yes(true); else if (Date.now() > end) yes(false); "
            "else setTimeout(look, 100); }; look(); })"
        )
        assert self.run(waiting % (1000 * seconds, condition)), f"never came true: {condition}"

    def picture(self, path: Path, whole: bool = False) -> Path:
        options = {"captureBeyondViewport": True} if whole else {}
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", **options)["data"]))
        return path

    def close(self) -> None:
        with suppress(OSError):
            self.ask("Browser.close")
        self._process.wait(timeout=30)
        os.close(self._in), os.close(self._out)

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
