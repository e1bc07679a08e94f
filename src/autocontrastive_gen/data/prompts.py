"""Prompts with their human continuations, and held-out text for perplexity."""

from __future__ import annotations

import random

from autocontrastive_gen.data.selection import Document
from autocontrastive_gen.foundation.digests import seed_for

HUMAN_WORDS = 256
"""Words of a human continuation, at most: more than any generated text that it is compared with."""
VALIDATION_WORDS = 400
"""Words of a held-out document, at most, so that a budget of tokens covers many documents."""


def identity(domain: str, document: Document) -> str:
    return f"{domain}-{document.digest[:12]}"


def from_paragraph(document: Document, min_words: int, seed: int) -> str:
    """The text from a random paragraph of at least ``min_words`` words on; all of it if there is none."""
    lines = document.text.split("\n")
    starts = [i for i, line in enumerate(lines) if len(line.split()) >= min_words]
    start = random.Random(seed_for(seed, "paragraph", document.digest)).choice(starts) if starts else 0
    return "\n".join(lines[start:])


def prompt_row(domain: str, document: Document, text: str, prompt_words: int) -> dict[str, str]:
    """``{"id", "prompt", "human"}``: the first words, joined by single spaces as in the paper, and the rest."""
    words = text.split()
    human = words[prompt_words : prompt_words + HUMAN_WORDS]
    return {"id": identity(domain, document), "prompt": " ".join(words[:prompt_words]), "human": " ".join(human)}


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
