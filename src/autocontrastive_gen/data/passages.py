"""Passages of a document: a sentence, and the whole sentences before it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from autocontrastive_gen.data.selection import Document

_END = re.compile(r"[.!?][\"'”’)\]]*(?=\s+[\"'“‘(]?[A-Z0-9])")
_ABBREVIATION = re.compile(r"\b(?:[A-HJ-Z]|Mr|Mrs|Ms|Dr|St|Prof)\.$")


def sentences(text: str) -> list[str]:
    """Sentences of a text; one ends with a full stop, a question or exclamation mark, or with its paragraph.

    The full stop of a title or an initial ("Dr. No", "J. Smith") ends none.
    """
    return [sentence for line in text.split("\n") for sentence in _of_paragraph(line)]


def _of_paragraph(line: str) -> Iterator[str]:
    start = 0
    for match in _END.finditer(line):
        if not _ABBREVIATION.search(line, start, match.end()):
            yield line[start : match.end()].strip()
            start = match.end()
    if rest := line[start:].strip():
        yield rest


def passages(document: Document, context_words: int) -> Iterator[tuple[str, str]]:
    """(context, sentence) for each sentence that is preceded by enough words.

    The context is the fewest whole sentences before it that hold ``context_words`` words; a sentence is left out where
    they would hold more than twice as many.
    """
    parts = sentences(document.text)
    lengths = [len(part.split()) for part in parts]
    for end in range(1, len(parts)):
        start, words = end, 0
        while start and words < context_words:
            start -= 1
            words += lengths[start]
        if context_words <= words <= 2 * context_words:
            yield " ".join(parts[start:end]), parts[end]
