"""Finished answers of lm-eval in a journal, where its own cache is a database that a power cut damages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from autocontrastive_gen.foundation.resume import Journal


class Answers:
    """Answers by the digest of the request: what ``CachingLM`` of lm-eval asks of its database."""

    def __init__(self, path: str) -> None:
        self._journal = Journal(path)
        # lm-eval's answers are a number, a text, or a tuple; JSON has no tuples
        self._known = {key: tuple(value) if isinstance(value, list) else value for key, value in self._journal.values}

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def __getitem__(self, key: str) -> Any:
        return self._known[key]

    def __setitem__(self, key: str, value: Any) -> None:
        if key not in self._known:  # lm-eval stores each answer twice
            self._known[key] = value
            self._journal.append([key, value])

    def commit(self) -> None:
        """Return once all answers are on the disk."""
        self._journal.sync()


@contextmanager
def kept() -> Iterator[None]:
    """Within it, the cache of lm-eval's ``simple_evaluate`` is a journal."""
    from lm_eval.api import model

    class Caching(model.CachingLM):
        def __init__(self, lm: Any, cache_db: str) -> None:
            self.lm, self.cache_db, self.dbdict = lm, cache_db, Answers(cache_db)
            lm.set_cache_hook(self.get_cache_hook())

    before, model.CachingLM = model.CachingLM, Caching
    try:
        yield
    finally:
        model.CachingLM = before
