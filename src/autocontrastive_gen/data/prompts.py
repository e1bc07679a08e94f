"""Prompts with their human continuations, and held-out text for perplexity."""

from __future__ import annotations

import random
from itertools import accumulate

from autocontrastive_gen.data.selection import Document
from autocontrastive_gen.foundation.digests import seed_for

SPACE = 160
"""Words from the beginning of one prompt of a document to the next, at least: room for its human continuation."""
HUMAN_WORDS = 256
"""Words of a human continuation, at most: more than any generated text that it is compared with."""
VALIDATION_WORDS = 400
"""Words of a held-out document, at most, so that a budget of tokens covers many documents."""


def identity(domain: str, document: Document) -> str:
    return f"{domain}-{document.digest[:12]}"


def from_paragraphs(document: Document, min_words: int, seed: int, most: int = 1) -> list[str]:
    """Up to ``most`` texts, each from a random paragraph of at least ``min_words`` words to where another text begins.

    They begin at least ``SPACE`` words apart. The first is the same whatever ``most`` is, but for its end, and is the
    whole document where no paragraph is long enough.
    """
    lines = document.text.split("\n")
    lengths = [len(line.split()) for line in lines]
    offsets = list(accumulate(lengths, initial=0))
    starts = [i for i, length in enumerate(lengths) if length >= min_words] or [0]
    rng = random.Random(seed_for(seed, "paragraph", document.digest))
    taken = [rng.choice(starts)]
    for start in rng.sample(starts, len(starts)):
        if len(taken) < most and all(abs(offsets[start] - offsets[other]) >= SPACE for other in taken):
            taken.append(start)
    ends = {start: min((other for other in taken if other > start), default=len(lines)) for start in taken}
    return ["\n".join(lines[start : ends[start]]) for start in taken]


def prompt_rows(domain: str, document: Document, texts: list[str], prompt_words: int) -> list[dict[str, str]]:
    """``{"id", "document", "prompt", "human"}`` of each text: the first words, joined by single spaces as in the paper,
    and the rest."""
    name, rows = identity(domain, document), []
    for number, text in enumerate(texts, 1):
        words = text.split()
        row = {"id": name if number == 1 else f"{name}-{number}", "document": name}
        row["prompt"] = " ".join(words[:prompt_words])
        row["human"] = " ".join(words[prompt_words : prompt_words + HUMAN_WORDS])
        rows.append(row)
    return rows


def validation_row(domain: str, document: Document) -> dict[str, str]:
    """``{"id", "domain", "text"}``: the beginning of a document, up to the line that reaches VALIDATION_WORDS."""
    lines: list[str] = []
    for line in document.text.split("\n"):
        room = VALIDATION_WORDS - sum(len(line.split()) for line in lines)
        if room <= 0:
            break
        words = line.split(" ")
        lines.append(" ".join(words[:room]))
    return {"id": identity(domain, document), "domain": domain, "text": "\n".join(lines)}
