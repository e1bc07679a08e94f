"""All texts of a trial at once: threads that take turns, and one stream of their events."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.generation.trial import Trial, TrialSetting
from autocontrastive_gen.review.playground.live_text import LiveText
from autocontrastive_gen.review.playground.subject import Subject
from autocontrastive_gen.review.playground.turns import Turns

MOST_TRIALS = 4
"""Trials that run at the same time."""
PACE_TOKENS = 16
"""Tokens by which the pace of plain decoding is measured in a trial that has no plain setting."""


@dataclass
class LiveTrials:
    """The trials that run on one model, each with settings of its own.

    Every text has a copy of the model, which shares the weights, so trials (and browser tabs) never see each other's
    settings.
    """

    subject: Subject
    turns: Turns = field(default_factory=Turns)
    running: int = 0
    _texts: dict[threading.Thread, threading.Event] = field(default_factory=dict)
    """The threads at work, and what stops each."""

    def admit(self, trial: Trial) -> list[int]:
        """The tokens of the prompt of a trial that can run now.

        Raises:
            InputError: the model cannot run it, or too many are running.
        """
        if self.running >= MOST_TRIALS:
            raise InputError(f"{MOST_TRIALS} trials are running; stop one, or wait for its end")
        return trial.encoded(self.subject.model, self.subject.tokenizer)

    async def events(self, trial: Trial, prompt: list[int]) -> AsyncIterator[dict[str, Any]]:
        """The events of all its texts (``LiveText``) as they come; closing the iterator stops them.

        The first event names the setting whose pace is that of plain decoding, under "plain"; None is a text of its
        own.
        """
        loop, queue, stop = asyncio.get_running_loop(), asyncio.Queue(), threading.Event()

        def emit(event: dict[str, Any]) -> None:
            with suppress(RuntimeError):  # the server has ended, and nobody listens
                loop.call_soon_threadsafe(queue.put_nowait, event)

        texts = [(trial, setting, number) for number, setting in enumerate(trial.settings)]
        plain = next((number for number, setting in enumerate(trial.settings) if setting.is_plain), None)
        if plain is None:
            texts.append((replace(trial, new_tokens=min(PACE_TOKENS, trial.new_tokens)), TrialSetting.read({}), None))
        self.running += 1
        try:
            yield {"plain": plain}
            for its, setting, number in texts:
                text = LiveText(self.subject, its, setting, number, prompt, self.turns, emit, stop)
                thread = threading.Thread(target=text.run, daemon=True)
                self._texts[thread] = stop
                thread.start()
            for _ in texts:
                while not (event := await queue.get()).get("done"):
                    yield event
                yield event
        finally:
            stop.set()
            self.running -= 1
            self._texts = {thread: its for thread, its in self._texts.items() if thread.is_alive()}

    def stop(self) -> None:
        """End every text at its next step, which ends the streams of events too."""
        for stop in [*self._texts.values()]:
            stop.set()

    def wait(self, seconds: float) -> None:
        """Wait for texts that were stopped: a thread that computes while Python ends takes the process down."""
        for thread in [*self._texts]:
            thread.join(seconds)
