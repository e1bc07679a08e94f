"""What the answers to benchmark items are called, and the columns of the file that holds them."""

from __future__ import annotations

from functools import lru_cache

RIGHT, STOP, EARLIER, OTHER = "right", "stop word", "earlier word", "other word"
KINDS = (RIGHT, STOP, EARLIER, OTHER)
"""What a first choice may be: the answer's token, a stop word or no word, a word of the passage, or another word."""
COLUMNS = ("task", "id", "document", "view", "right", "kind", "filtered", "margin", "plausible")
"""Of one item under one view, ``original``, ``exit<l>`` or ``<contrast><l>``: whether the answer is right; for one with
a single answer, what the first choice is, and whether it is right if no stop word may be chosen; for multiple choice,
the log-probability of the right answer less that of the best wrong one (nats), and the share of the answers' tokens
that are plausible under the last layer."""


def kind_of(token: str, passage: str) -> str:
    """What a wrong first choice is: one of ``KINDS`` but the first."""
    if is_stop_word(token):
        return STOP
    return EARLIER if token.strip().lower() in _words(passage) else OTHER


@lru_cache(maxsize=1)
def _words(passage: str) -> frozenset[str]:
    return frozenset(word.strip(".,;:!?\"'()[]").lower() for word in passage.split())


def is_stop_word(token: str) -> bool:
    """Whether a token is an English stop word, or holds no letter or digit and so cannot be part of a word."""
    return token.strip().lower() in _stop_words() or not any(character.isalnum() for character in token)


@lru_cache(maxsize=1)
def _stop_words() -> frozenset[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return ENGLISH_STOP_WORDS
