"""A lens as a page: one self-contained file that needs no network."""

from __future__ import annotations

import html
import json
import math
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from autocontrastive_gen.inspection.layer_measures import MEASURES

if TYPE_CHECKING:
    from autocontrastive_gen.inspection.lens_view import Lens, PlausibleSet, Row

DIGITS = 4
"""Significant digits of every number on the page: far fewer than machines agree on."""
KINDS = {"exit": "trained exit", "direct": "the model's own head", "last": "last layer", "contrast": "contrast"}


def page(lens: Lens) -> str:
    """The page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    loader = PackageLoader("autocontrastive_gen.inspection", "page")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    # in a script, "<" could begin a tag that ends it
    content = json.dumps(_content(lens), ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return environment.get_template("lens.html.j2").render(
        title=lens.title,
        measures=MEASURES,
        depth=lens.depth,
        kinds={row.kind for row in lens.rows},
        text="".join(lens.tokens),
        content=Markup(content),
        css=Markup(_part("lens.css")),
        js=Markup(_part("lens.js")),
    )


def framed(lens: Lens) -> str:
    """A frame that holds the page."""
    height = min(900, 330 + 28 * len(lens.rows))
    style = f"width:100%;height:{height}px;border:1px solid #8884;border-radius:6px"
    return f'<iframe title="{html.escape(lens.title)}" style="{style}" srcdoc="{html.escape(page(lens))}"></iframe>'


def visible(token: str) -> str:
    """The token with its line breaks, control characters and, where there is nothing else, its spaces made visible."""
    text = token.replace("\n", "↵").replace("\t", "⇥").strip()
    text = "".join(letter if letter.isprintable() else "�" for letter in text)
    return text or "␣" * max(1, len(token))


def _content(lens: Lens) -> dict[str, Any]:
    """What the page's script reads; tokens are indices into ``words``."""
    index = {token: number for number, token in enumerate(lens.words)}
    return {
        "words": list(lens.words.values()),
        "measures": [{"key": m.key, "title": m.title, "unit": m.unit, "meaning": m.meaning} for m in MEASURES],
        "kinds": KINDS,
        "tokens": [index[token] for token in lens.token_ids],
        "start": lens.positions[0],
        "rows": [_row(row, index) for row in lens.rows],
    }


def _row(row: Row, index: dict[int, int]) -> dict[str, Any]:
    columns = {m.key: [_number(x) for x in row.numbers[:, i].tolist()] for i, m in enumerate(MEASURES)}
    top = [
        [[index[token], _number(p)] for token, p in zip(ids, shares, strict=True)]
        for ids, shares in zip(row.top_ids.tolist(), row.top_probabilities.tolist(), strict=True)
    ]
    found = {"label": row.label, "kind": row.kind, "layer": row.layer, "numbers": columns, "top": top}
    return found if row.sets is None else {**found, "sets": [_set(each, index) for each in row.sets]}


def _set(found: PlausibleSet, index: dict[int, int]) -> list[Any]:
    members = zip(found.token_ids, found.upper, found.contrasted, strict=True)
    return [found.size, [[index[token], _number(p), _number(q)] for token, p, q in members]]


def _number(value: float) -> float | int | str | None:
    """Rounded; "inf" for infinity and None for nothing, which JSON has no numbers for."""
    if math.isnan(value):
        return None
    if math.isinf(value):
        return "inf"
    if abs(value) < 1e-6:
        return 0
    short = float(f"{value:.{DIGITS}g}") if value < 1e4 else round(value)
    return int(short) if short == int(short) else short


def _part(name: str) -> str:
    return (files("autocontrastive_gen.inspection") / "page" / name).read_text(encoding="utf-8")
