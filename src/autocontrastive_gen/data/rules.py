"""Cleaning rules of the paper's data sets, as the reference implementation applies them.

WikiText and BookCorpus are tokenized with spaces before punctuation, which the rules undo; of a WikiNews page the
longest part between colons is the story.
"""

from __future__ import annotations

WIKITEXT = (
    (" 's ", "'s "), ("s ' ", "s' "), (" , ", ", "), (" ( ", " ("), (" )", ")"), (" : ", ": "), (" ; ", "; "),
    (" . ", ". "), (" %", "%"), (" @-@ ", "-"), (" @.@ ", "."), (" @,@ ", ","),
)  # fmt: skip
BOOKCORPUS = (
    (" '", "'"), (" , ", ", "), (" .", "."), (" ?", "?"), (" n't", "n't"), (" : ", ": "), (" ; ", "; "), (" ( ", " ("),
    (" )", ")"), (" %", "%"),
)  # fmt: skip
WIKINEWS = (("Pillars of Wikinews writing Writing an article ", ""),)
REPLACEMENTS = {"none": (), "wikitext": WIKITEXT, "bookcorpus": BOOKCORPUS, "wikinews": WIKINEWS}


def clean(text: str, rules: str) -> tuple[str, int]:
    """The cleaned text, and its number of words before the replacements, which the minimum length refers to."""
    if rules == "wikinews":
        text = sorted(text.split(":"), key=len)[-1].strip()
    words = len(text.split())
    for old, new in REPLACEMENTS[rules]:
        text = text.replace(old, new)
    return text.strip(), words
