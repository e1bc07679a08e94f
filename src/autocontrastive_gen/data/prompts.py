"""Prompts with their human continuations, and held-out text for perplexity."""

from __future__ import annotations

from autocontrastive_gen.data.selection import Document

HUMAN_WORDS = 256
"""Human continuations are cut here: longer than any generated text that they are compared with."""
VALIDATION_WORDS = 400
"""Held-out documents are cut here, so that a budget of tokens is spent on many of them."""


def identity(domain: str, document: Document) -> str:
    return f"{domain}-{document.digest[:12]}"


def prompt_row(domain: str, document: Document, prompt_words: int) -> dict[str, str]:
    """``{"id", "prompt", "human"}``: the first words, apart by single spaces as in the paper, and what follows them."""
    words = document.text.split()
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
