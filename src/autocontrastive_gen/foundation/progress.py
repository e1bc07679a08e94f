"""ProgressBar of long work: a bar on a terminal; on a pipe, a line now and then."""

from __future__ import annotations

import os
import time
from typing import Any

from tqdm import tqdm

from autocontrastive_gen.foundation import console

PAUSE_S = 30.0
"""Seconds before the first line on a pipe, and between lines."""
LINE = "{desc}: {n_fmt} of {total_fmt}{unit}, {remaining} left"
OPEN_LINE = "{desc}: {n_fmt}{unit}"
"""Of work whose extent is unknown."""


class ProgressBar(tqdm):
    """``tqdm`` that a command shows on its console, while a process that uses the library shows it on terminals alone.

    >>> sum(ProgressBar(range(3), "numbers"))
    3
    """

    def __init__(self, iterable: Any = None, desc: str | None = None, total: float | None = None, **options: Any):
        own = console.current()
        self.prefix = f"{own.name}: " if own else ""
        self.lines = own is not None and not own.shown.isatty()
        self.said = time.time()
        if os.environ.get("RANK", "0") != "0":  # of several processes, only the first shows it
            options["disable"] = True
        elif not options.get("disable"):
            options["disable"] = None if own is None else False
        if own is not None:
            options |= {"file": own.shown, "leave": False}
        super().__init__(iterable, desc, total, **options)
        if self.lines:
            self.bar_format = OPEN_LINE if self.total is None else LINE

    def display(self, msg: str | None = None, pos: int | None = None) -> bool | None:
        """Show where the work is; on a pipe, only if the last line is long enough ago."""
        if not self.lines:
            return super().display(msg, pos)
        now = time.time()
        finished = self.total is not None and self.n >= self.total  # what follows says so
        if msg is None and not finished and now - self.said >= PAUSE_S:
            self.said = now
            print(f"{self.prefix}{self}", file=self.fp, flush=True)
        return None
