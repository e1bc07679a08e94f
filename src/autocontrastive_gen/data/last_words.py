"""Last words of passages, chosen by rules so that they resemble LAMBADA's (Paperno et al. 2016).

LAMBADA keeps passages whose last word people guess from several sentences but not from the last sentence alone. In four
of five items that word occurs earlier in the passage, and in every second one it is a name. These rules select similar
words without people and without a model:

1. The context is at least ``CONTEXT_WORDS`` words of whole sentences, then the target's sentence up to the target.
2. The target is a word of at least three letters that occurs in those whole sentences.
3. It is neither a function word (scikit-learn's list of English stop words) nor a word that more than a fifth of the
   documents contain.
4. It is a name, or it ends its sentence. A name is capitalised and never occurs in lower case in the context; it is at
   least the fourth word of its sentence and does not follow another capitalised word, which would give it away.
5. Names and other words alternate within a document as long as it has both.

docs/tasks.md compares the effect of contrast on these items and on LAMBADA's own.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, zip_longest

from autocontrastive_gen.data.passages import passages
from autocontrastive_gen.data.selection import Document
from autocontrastive_gen.foundation.digests import seed_for

CONTEXT_WORDS = 50
NAME_POSITION = 3
"""Words of its sentence that precede a name, at least."""
COMMON = 0.2
"""Words that a larger share of the documents contain are no targets."""
_TARGET = re.compile(r"([A-Za-z]{3,})[.,;:!?\"')\]]*")
_SENTENCE_END = re.compile(r"[.!?:]['\")\]]*$")


def pairs_of(documents: list[Document], seed: int) -> Iterator[list[tuple[str, str]]]:
    """(context, target) pairs of each document in random order, names and other words in turn."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    excluded = ENGLISH_STOP_WORDS | _common_words(documents)
    for document in documents:
        rng = random.Random(seed_for(seed, "last word", document.digest))
        found: dict[bool, list[tuple[str, str]]] = {True: [], False: []}
        for before, sentence in passages(document, CONTEXT_WORDS):
            for is_name, context, target in _targets(before, sentence.split()):
                if target.lower() not in excluded:
                    found[is_name].append((context, target))
        for pairs in found.values():
            rng.shuffle(pairs)
        yield [pair for pair in chain(*zip_longest(found[True], found[False])) if pair]


def _targets(before: str, sentence: list[str]) -> Iterator[tuple[bool, str, str]]:
    """(whether it is a name, context, target) for each word of a sentence that may be a target."""
    earlier = _plain(before.split())
    lower = {word for word in earlier if word.islower()}
    for i, word in enumerate(sentence):
        match = _TARGET.fullmatch(word)
        if not match or match[1] not in earlier and match[1].lower() not in lower:
            continue
        target, previous = match[1], sentence[i - 1]
        starts = not i or _SENTENCE_END.search(previous)
        is_name = target[0].isupper() and target[1:].islower() and target.lower() not in lower
        if is_name:
            fits = i >= NAME_POSITION and not starts and not previous.lstrip("\"'(")[:1].isupper()
        else:
            fits = i == len(sentence) - 1 and target.islower()
        if fits:
            yield is_name, " ".join([before, *sentence[:i]]), target


def _plain(words: Iterable[str]) -> set[str]:
    """Words without punctuation around them and without a possessive ending."""
    return {re.sub(r"['’]s$", "", word.strip(".,;:!?\"'()[]")) for word in words}


def _common_words(documents: list[Document]) -> set[str]:
    """Words that more than a share ``COMMON`` of the documents, and more than two, contain: "said", "day" and so on."""
    counts = Counter(word for document in documents for word in {w.lower() for w in _plain(document.text.split())})
    return {word for word, count in counts.items() if count > max(2, COMMON * len(documents))}
