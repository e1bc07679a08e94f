"""One text of a trial while it grows: what the page shows of it, as events."""

from __future__ import annotations

import logging
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from autocontrastive_gen.evaluation.metrics.coherence import coherence
from autocontrastive_gen.evaluation.metrics.diversity import diversity
from autocontrastive_gen.foundation.errors import UserError
from autocontrastive_gen.generation.decode import pieces
from autocontrastive_gen.generation.plain_picks import PlainPicks
from autocontrastive_gen.generation.streaming import stream_tokens
from autocontrastive_gen.generation.trial import Trial, TrialSetting
from autocontrastive_gen.review.playground.subject import Subject
from autocontrastive_gen.review.playground.turns import Turns

log = logging.getLogger(__name__)

CHUNK = 8
"""Tokens after which changed tokens and metrics are computed again."""
FEWEST_WORDS = 8
"""Shorter texts have too few n-grams for a diversity."""
WARM = 2
"""Steps at the beginning whose times do not count: the first one also reads the prompt."""


class Stopped(Exception):
    """Ends a generation whose reader has left."""


@dataclass
class LiveText:
    """The continuation under one setting, computed in turns with others; ``run`` is the work of a thread.

    Args:
        number: the setting's place in the trial; None for a text of which only the pace is wanted.
        prompt: tokens of the prompt.
        emit: takes the events: "pieces" that replace the text from token "at" on, "changed" tokens as (position, what
            it would have been without exits), the "growth" of the metrics, the "pace" in tokens per second, an "error".
        stop: once set, the text ends at its next step.
    """

    subject: Subject
    trial: Trial
    setting: TrialSetting
    number: int | None
    prompt: list[int]
    turns: Turns
    emit: Callable[[dict[str, Any]], None]
    stop: threading.Event

    def run(self) -> None:
        """Generate the text and emit its events, the last of which is "done"."""
        try:
            with self.turns.turn():
                self._generate()
        except Stopped:
            pass
        except UserError as error:
            self._say(error=str(error))
        except Exception:
            log.exception("setting %s of a trial failed: %s", self.number, self.setting.content)
            self._say(error="this is a bug in the program; the traceback is in the terminal and in the log")
        finally:
            self._say(done=True)

    def _generate(self) -> None:
        model, decoder = self.setting.of(self.subject.model), self.setting.decoder
        self._shown: list[int] = []
        self._texts: list[str] = []
        self._looked_at: list[int] = []
        self._seconds: list[float] = []
        self._picks = PlainPicks(model, self.prompt, decoder, self.trial.seed) if self.setting.exits else None
        self._checked = 0
        self._revises = decoder.tokens_per_step > 1
        self._clock = time.perf_counter()
        tokens = stream_tokens(model, self.prompt, decoder, self.trial.new_tokens, self.trial.seed, self._step)
        if self.number is not None:
            self._show(tokens, complete=True)

    def _step(self, tokens: list[int]) -> None:
        self._seconds.append(time.perf_counter() - self._clock)
        if self.stop.is_set():
            raise Stopped
        if self.number is not None:
            self._show(tokens)
        if len(self._seconds) > WARM:
            self._say(pace=round(1 / statistics.median(self._seconds[WARM:]), 2))
        self.turns.pass_on()
        self._clock = time.perf_counter()

    def _show(self, tokens: list[int], complete: bool = False) -> None:
        at = _common(self._shown, tokens)
        if complete or at < len(self._shown) or len(tokens) % CHUNK == 0:
            texts = pieces(self.subject.tokenizer, tokens)
        else:
            texts = [*self._texts, *self._next(tokens)]
        at = min(at, _common(self._texts, texts))
        if at < len(texts):
            self._say(at=at, pieces=texts[at:], tokens=tokens[at:])
        self._shown, self._texts = tokens, texts
        if (complete and tokens != self._looked_at) or (not complete and len(tokens) % CHUNK == 0):
            self._look(tokens, "".join(texts), complete)
            self._looked_at = tokens

    def _next(self, tokens: list[int]) -> list[str]:
        """The texts of the tokens after those shown; a character of several tokens waits for its last one."""
        whole = self.subject.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        before = "".join(self._texts)
        waits = whole.endswith("\ufffd") or not whole.startswith(before)
        added = "" if waits else whole[len(before) :]
        return ["" for _ in tokens[len(self._shown) + 1 :]] + [added]

    def _look(self, tokens: list[int], text: str, complete: bool) -> None:
        """The tokens that the exits changed, and the metrics of the text so far."""
        if self._picks and (complete or not self._revises) and tokens[self._checked :]:
            found = self._picks.extend(tokens[self._checked :])
            self._checked = len(tokens)
            decode = self.subject.tokenizer.decode
            self._say(changed=[(position, decode([pick])) for position, pick in found])
        growth: dict[str, Any] = {"tokens": len(tokens)}
        if len(text.split()) >= FEWEST_WORDS:
            growth["diversity"] = round(diversity([text]), 4)
        if self.subject.encoder is not None and text.strip():
            growth["coherence"] = round(coherence(self.subject.encoder, [self.trial.prompt], [text])[0], 4)
        self._say(growth=growth)

    def _say(self, **event: Any) -> None:
        self.emit({"setting": self.number, **event})


def _common(a: list, b: list) -> int:
    """Length of the longest common beginning."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
