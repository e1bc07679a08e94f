"""What a command shows, and what goes to its log file: our own words, and the chatter of the libraries.

A library's log records, warnings, printed lines and progress bars go to ``.scratch/logs/<name>.log``. Errors that
it logs without a handler of its own are shown as well. With ``AUTOCONTRASTIVE_VERBOSE=1`` everything is shown.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TextIO

from autocontrastive_gen.foundation.errors import masked
from autocontrastive_gen.foundation.files import SCRATCH

VERBOSE = "AUTOCONTRASTIVE_VERBOSE"
"""Environment variable that shows the chatter of the libraries, when it is neither empty nor 0."""
OURS = ("autocontrastive_gen", "stages", "__main__")
"""First parts of the names of our own loggers."""


class LogFile(io.TextIOBase):
    """A stream into a log file, which appears with the first word; what a full disk refuses is dropped."""

    encoding = "utf-8"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.whole = True
        """Whether every word so far is in the file."""
        self._file: TextIO | None = None

    def write(self, text: str) -> int:
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = open(self.path, "w", encoding="utf-8", errors="replace", buffering=1)
            self._file.write(masked(text))
        except OSError:  # nothing that a command does depends on its log
            self.whole = False
        return len(text)

    def move(self, path: Path) -> None:
        """Write to another file, unless this one has words in it."""
        if self._file is None:
            self.path = path

    def writable(self) -> bool:
        return True


class Console:
    """The streams of one command."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.shown: TextIO = sys.stderr
        self.log = LogFile(_log_path(name))
        self.verbose = os.environ.get(VERBOSE, "") not in ("", "0")

    def set_up(self) -> None:
        """Divide log records: our own from INFO on, and errors of libraries, are shown; everything goes to the file."""
        shown = logging.StreamHandler(self.shown)
        shown.setFormatter(logging.Formatter(f"{self.name}: %(message)s"))
        shown.setLevel(logging.INFO)
        kept = logging.StreamHandler(self.log)
        kept.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        if not self.verbose:
            shown.addFilter(lambda record: record.name.startswith(OURS) or record.levelno >= logging.ERROR)
            logging.captureWarnings(True)
        logging.basicConfig(level=logging.INFO, handlers=[shown, kept], force=True)
        for logger in OURS:
            logging.getLogger(logger).setLevel(logging.DEBUG)

    @contextmanager
    def quiet(self, cell: str = "") -> Iterator[None]:
        """Within it, whatever is printed goes to the log file, which is named after the ``cell`` too."""
        self.log.move(_log_path("-".join(filter(None, (self.name, cell)))))
        if self.verbose:
            yield
            return
        moved = [handler for handler in _foreign_handlers() if handler.stream in (sys.stderr, sys.stdout)]
        before = [handler.setStream(self.log) for handler in moved]
        try:
            with redirect_stdout(self.log), redirect_stderr(self.log):
                yield
        finally:
            for handler, stream in zip(moved, before, strict=True):
                if stream is not None:
                    handler.setStream(stream)

    def say(self, text: str) -> None:
        """Show a line, and keep it in the log file."""
        print(text, file=self.shown, flush=True)
        self.log.write(f"{text}\n")


_console: Console | None = None


def start(name: str) -> Console:
    """The console of the command that this process runs until ``leave``."""
    global _console
    _console = Console(name)
    _console.set_up()
    return _console


def leave() -> None:
    """The command has ended; in a process that goes on, the library is silent again."""
    global _console
    _console = None


def current() -> Console | None:
    """The console of this process's command; None in a process that uses the library."""
    return _console


def _log_path(name: str) -> Path:
    rank = os.environ.get("RANK", "0")  # each process has a file of its own
    return SCRATCH / "logs" / f"{name}{'' if rank == '0' else f'-{rank}'}.log"


def _foreign_handlers() -> list[logging.StreamHandler]:
    """Handlers that libraries have given to their own loggers."""
    loggers = [logger for logger in logging.root.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    handlers = dict.fromkeys(handler for logger in loggers for handler in logger.handlers)
    return [handler for handler in handlers if type(handler) is logging.StreamHandler]
