"""Which documents are held out and which are duplicates: decided by digests, in memory that does not grow."""

from __future__ import annotations

import hashlib
import heapq
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from autocontrastive_gen.foundation.digests import seed_for


@dataclass(frozen=True)
class Document:
    """A cleaned text, identified by its content."""

    text: str
    words: int
    """Length in words before detokenisation, which the minimum length refers to."""
    digest: str

    @classmethod
    def of(cls, text: str, words: int | None = None) -> Document:
        """Texts that differ only in case, punctuation and spaces are the same document."""
        normalised = re.sub(r"[\W_]+", " ", text.lower()).strip()
        digest = hashlib.sha256(normalised.encode()).hexdigest()
        return cls(text, len(text.split()) if words is None else words, digest)


class Seen:
    """A Bloom filter over digests: a set of fixed size that may, rarely, take a new digest for a known one.

    With the default 64 MiB, one in 10,000 new documents is taken for a duplicate after 28 million documents.
    """

    HASHES = 7

    def __init__(self, size: int = 1 << 26) -> None:
        self._bits = bytearray(size)

    def add(self, digest: str) -> bool:
        """Add a sha256 (hexadecimal) and return whether it was present."""
        value, there = int(digest, 16), True
        for _ in range(self.HASHES):
            value, position = divmod(value, len(self._bits) * 8)
            byte, bit = position >> 3, 1 << (position & 7)
            if not self._bits[byte] & bit:
                there = False
                self._bits[byte] |= bit
        return there


def hold_out(documents: Iterable[Document], count: int, seed: int) -> list[Document]:
    """The ``count`` documents that come first in a seeded order, in that order.

    A document's place in that order depends on the seed and the document alone: adding documents to a corpus changes a
    few of those selected, and reading it in another order changes none.
    """
    keyed = ((seed_for(seed, document.digest), document.digest, document) for document in documents)
    return [document for _, _, document in heapq.nsmallest(count, keyed, key=lambda item: item[:2])]


def shuffled(documents: Iterable[Document], buffer_size: int, seed: int) -> Iterator[Document]:
    """Documents passed through a shuffle buffer of ``buffer_size``; 0 keeps their order."""
    rng = random.Random(seed)
    buffer: list[Document] = []
    for document in documents:
        if len(buffer) < buffer_size:
            buffer.append(document)
        elif buffer_size:
            index = rng.randrange(buffer_size)
            yield buffer[index]
            buffer[index] = document
        else:
            yield document
    rng.shuffle(buffer)
    yield from buffer


def interleaved(sources: dict[str, Iterator[Document]], words: int) -> Iterator[tuple[str, Document]]:
    """Documents of all sources, (source, document), until they hold ``words`` words.

    The source that has contributed the fewest words is next, so any prefix holds about as much of each.
    """
    given = dict.fromkeys(sources, 0)
    while given and words > 0:
        name = min(given, key=lambda source: given[source])
        document = next(sources[name], None)
        if document is None:
            del given[name]
            continue
        count = len(document.text.split())
        given[name] += count
        words -= count
        yield name, document
