"""Serves the playground on 127.0.0.1 until Ctrl-C."""

from __future__ import annotations

import socket
import webbrowser
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from autocontrastive_gen.foundation.errors import FileError, InputError

HOST = "127.0.0.1"
PATIENCE = 10
"""Seconds that a text which was stopped may take for its last step."""


def listen(port: int) -> socket.socket:
    """A socket on 127.0.0.1; port 0 takes a free one.

    Raises:
        InputError: there is no such port.
        FileError: the port cannot be had.
    """
    if not 0 <= port <= 65535:
        raise InputError(f"--port must be a whole number from 0 (any free port) to 65535, got {port}")
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise FileError(f"port {port} on {HOST}: {error.strerror}; --port 0 takes a free one") from error
    return listener


def serve(app: Starlette, listener: socket.socket, say: Callable[[str], None], browser: bool = True) -> None:
    """Serve until Ctrl-C or SIGTERM, which also end the texts that are growing.

    Args:
        app: the playground.
        say: takes the address of the page.
        browser: open it, if there is a browser.
    """
    address = f"http://{HOST}:{listener.getsockname()[1]}"
    options = {"log_config": None, "access_log": False, "timeout_graceful_shutdown": PATIENCE, "lifespan": "off"}
    server = _Server(uvicorn.Config(app, **options))
    server.ending = app.state.trials.stop
    listener.listen()
    say(f"{address} (Ctrl-C ends it)")
    if browser:
        webbrowser.open(address)  # the page loads once the server runs: the socket listens already
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:  # which uvicorn raises again once it has shut down
        say("stopped")
    finally:
        app.state.trials.stop()
        app.state.trials.wait(PATIENCE)
        listener.close()


class _Server(uvicorn.Server):
    ending: Callable[[], None]
    """Called at the signal to end, before the server waits for open streams."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.ending()
        super().handle_exit(sig, frame)
