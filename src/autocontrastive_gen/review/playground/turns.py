"""Threads that compute in turn, one at a time and in the order in which they ask."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """A lock that goes to the thread that has waited longest.

    Texts that grow side by side take a turn per token: none waits for another to be complete, and the time of a step
    is that of its own computation, whatever other texts there are.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._taken = False

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn, and give it up at the end."""
        self._take()
        try:
            yield
        finally:
            self._give_up()

    def pass_on(self) -> None:
        """Within a turn: let the threads that are waiting go first."""
        with self._guard:
            if not self._waiting:
                return
        self._give_up()
        self._take()

    def _take(self) -> None:
        with self._guard:
            if not self._taken:
                self._taken = True
                return
            mine = threading.Event()
            self._waiting.append(mine)
        mine.wait()

    def _give_up(self) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().set()  # it stays taken, by the next one
            else:
                self._taken = False
