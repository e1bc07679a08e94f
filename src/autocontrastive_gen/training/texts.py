"""Texts as a caller gives them: checked as they are read, and some of them held out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from autocontrastive_gen.foundation.errors import InputError

Texts = Iterable[str] | Callable[[], Iterable[str]]
"""Strings, or a function that returns them, which is called only when they are needed."""
HELD_OUT = 0.1
"""Share of the tokens held out, as long as there are not enough."""


def check_tokenizer(tokenizer: Any) -> None:
    """Refuse what is no tokenizer.

    Raises:
        TypeError: it can't be called.
    """
    if not callable(tokenizer):
        kind = type(tokenizer).__name__
        raise TypeError(f"tokenizer: give the model's own, from AutoTokenizer.from_pretrained, got a {kind}")


def stream(texts: Texts, what: str = "texts") -> Iterator[str]:
    """The texts one after the other.

    Raises:
        InputError: they are not an iterable of strings.

    >>> list(stream(lambda: ["one", "two"]))
    ['one', 'two']
    >>> list(stream("one"))
    Traceback (most recent call last):
    autocontrastive_gen.foundation.errors.InputError: texts: give an iterable of strings such as a list, got a str
    """
    given: Any = texts() if callable(texts) else texts
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        raise InputError(f"{what}: give an iterable of strings such as a list, got a {type(given).__name__}")
    for number, text in enumerate(given):
        if not isinstance(text, str):
            kind = type(text).__name__
            raise InputError(f"{what}: item {number} is a {kind}; give strings, such as (row['text'] for row in rows)")
        yield text


def hold_out(texts: Iterator[str], tokenizer: Any, block_size: int, tokens: int) -> tuple[list[str], Iterator[str]]:
    """Held-out texts and the others, from a single reading.

    Whole texts are held out, so that they make up a tenth of the tokens read, but at least one block. Once ``tokens``
    are held out, the rest is left to be read with the others.
    """
    held: list[str] = []
    others: list[str] = []
    enough, held_tokens, seen = max(block_size, tokens), 0, 0
    for text in texts:
        length = 1 + len(tokenizer([text], add_special_tokens=False, verbose=False)["input_ids"][0])
        seen += length
        if held_tokens < max(block_size, min(enough, HELD_OUT * seen)):
            held.append(text)
            held_tokens += length
        else:
            others.append(text)
        if held_tokens >= enough:
            break
    return held, chain(others, texts)


def by_domain(validation: Iterable[str] | Mapping[str, Iterable[str]]) -> dict[str, Iterable[str]]:
    """Validation texts by domain; texts without a domain belong to ``validation``.

    Raises:
        InputError: the mapping is empty.
    """
    if not isinstance(validation, Mapping):
        validation = {"validation": validation}
    if not validation:
        raise InputError("validation: there is no domain; give texts, or leave it out to hold out some of the texts")
    return {domain: stream(texts, f"validation texts of {domain}") for domain, texts in validation.items()}
