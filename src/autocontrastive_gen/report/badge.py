"""Badges for a README: a label and coloured counts, as SVG files that need no service."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from xml.sax.saxutils import escape

from autocontrastive_gen.report.claims import CONTRADICTED, NO_VERDICT, NOT_SHOWN, SUPPORTED, Check
from autocontrastive_gen.report.paper import NOT_RUN

GREY = "#5a6475"
_COLOURS = {SUPPORTED: "#2c7a3d", CONTRADICTED: "#b3261e", NOT_SHOWN: GREY, NO_VERDICT: GREY, NOT_RUN: GREY}
_LABEL = "#333b48"
_CHARACTER, _PADDING, _HEIGHT = 6.6, 7, 20
"""Mean width of a character, space at both sides of a text, and height, in pixels."""


def claims_badge(profile: str, checks: Iterable[Check]) -> str:
    """A badge that counts the verdicts on the paper's claims in one run; verdicts that none has are left out."""
    counts = Counter(check.verdict for check in checks)
    parts = [(f"{counts[verdict]} {verdict}", colour) for verdict, colour in _COLOURS.items() if counts[verdict]]
    return badge(f"claims, {profile}", parts or [("none tested", GREY)])


def badge(label: str, parts: Iterable[tuple[str, str]]) -> str:
    """SVG of a label and of parts beside it: (text, colour), each dark enough for white text."""
    parts = [(label, _LABEL), *parts]
    boxes, texts, x = [], [], 0.0
    for text, colour in parts:
        length = round(len(text) * _CHARACTER, 1)
        width = length + 2 * _PADDING
        boxes.append(f'<rect x="{x:g}" width="{width:g}" height="{_HEIGHT}" fill="{colour}"/>')
        texts.append(f'<text x="{x + _PADDING:g}" y="14" textLength="{length:g}">{escape(text)}</text>')
        x = round(x + width, 1)
    title = escape(f"{label}: {', '.join(text for text, _ in parts[1:])}")
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{x:g}" height="{_HEIGHT}" role="img" aria-labelledby="title">',
        f'<title id="title">{title}</title>',
        f'<clipPath id="round"><rect width="{x:g}" height="{_HEIGHT}" rx="3"/></clipPath>',
        f'<g clip-path="url(#round)">{"".join(boxes)}</g>',
        f'<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">{"".join(texts)}</g>',
        "</svg>",
    ]
    return "\n".join(lines) + "\n"
