"""Articles of a MediaWiki dump as plain paragraphs."""

from __future__ import annotations

import bz2
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import mwparserfromhell
from mwparserfromhell import nodes

from autocontrastive_gen.foundation.errors import FileError

DROPPED_SECTIONS = {
    "bibliography", "citations", "external links", "footnotes", "further reading", "gallery", "notes", "references",
    "see also", "sources", "works cited",
}  # fmt: skip
DROPPED_TAGS = {"ref", "references", "table", "gallery", "math", "timeline", "score", "imagemap", "noinclude", "hr"}
LIST_TAGS = {"li", "dd", "dt"}
LIST_MARK, HEADING_MARK = "\x00", "\x01"
BROKEN = re.compile(r"\[\[|\]\]|\{\{|\}\}|</?ref|thumb\|")
"""Markup that its author did not close; a line that holds it is dropped."""
MIN_WORDS = 8
"""Words of a line, at least: shorter ones are captions, remains of lists and the like."""


def articles(path: Path) -> Iterator[str]:
    """Plain text of the articles of a dump (.xml or .xml.bz2), without redirects and pages of other namespaces.

    Raises:
        FileError: the file is truncated or not a dump.
    """
    try:
        with bz2.open(path) if path.suffix == ".bz2" else open(path, "rb") as file:
            for _, element in ElementTree.iterparse(file):
                if element.tag.rpartition("}")[2] == "page":
                    prefix = element.tag[: -len("page")]
                    if element.findtext(f"{prefix}ns") == "0" and element.find(f"{prefix}redirect") is None:
                        yield clean(element.findtext(f"{prefix}revision/{prefix}text") or "")
                    element.clear()
    except (ElementTree.ParseError, EOFError) as error:
        raise FileError(f"{path}: is not a complete MediaWiki dump ({error})") from error


def clean(wikitext: str) -> str:
    """Paragraphs of running text, one per line, without headings, lists, tables, notes, captions and templates."""
    plain = _render(mwparserfromhell.parse(wikitext))
    lines, dropped_level = [], None
    for line in plain.split("\n"):
        if line.startswith(HEADING_MARK):
            level, title = int(line[1]), line[2:].strip().lower()
            if dropped_level is None or level <= dropped_level:
                dropped_level = level if title in DROPPED_SECTIONS else None
        elif dropped_level is None and not line.startswith((LIST_MARK, "|", "!", "{")):
            line = _tidy(line)
            if len(line.split()) >= MIN_WORDS and not BROKEN.search(line):
                lines.append(line)
    return "\n".join(lines)


def _render(code) -> str:
    return "".join(map(_render_node, code.nodes)) if code is not None else ""


def _render_node(node) -> str:
    match node:
        case nodes.Text():
            return node.value
        case nodes.Wikilink():
            return _render(node.text or node.title) if _is_article(str(node.title)) else ""
        case nodes.ExternalLink():
            return _render(node.title)
        case nodes.HTMLEntity():
            character = node.normalize().replace("\xa0", " ")
            return " " if unicodedata.category(character) in ("Cc", "Cs") else character  # such as our own marks
        case nodes.Tag():
            tag = str(node.tag).strip().lower()
            return LIST_MARK if tag in LIST_TAGS else "" if tag in DROPPED_TAGS else _render(node.contents)
        case nodes.Heading():
            return f"{HEADING_MARK}{node.level}{_render(node.title)}"
        case nodes.Template():
            return _render_template(node)
    return ""


def _is_article(title: str) -> bool:
    """Whether a link shows running text: links to files, categories and other languages do not."""
    return re.match(r"\s*:?(file|image|category|media|[a-z]{2,3}|[a-z]{2,3}-[a-z-]+)\s*:", title, re.IGNORECASE) is None


def _render_template(node) -> str:
    """What a reader sees of a template inside a sentence; nothing of any other template."""
    name = str(node.name).strip().lower().replace("_", " ")
    values = [_render(parameter.value).strip() for parameter in node.params if not parameter.showkey]
    if name in ("convert", "cvt") and len(values) >= 2:
        return f"{values[0]} {values[1]}"
    if name == "lang" and len(values) >= 2:
        return values[1]
    if (name in ("nowrap", "nobr", "abbr", "transl", "small") or name.startswith("lang-")) and values:
        return values[0]
    return {"ndash": "–", "spaced ndash": " – ", "snd": " – ", "mdash": "—", "spaces": " ", "nbsp": " "}.get(name, "")


def _tidy(line: str) -> str:
    """Close the gaps that removed markup leaves."""
    line = re.sub(r"'{2,}", "", line)
    line = re.sub(r"\(\s*[;,:\s]+", "(", line)
    line = re.sub(r"[;,\s]+\)", ")", line)
    line = re.sub(r"\(\s*\)", "", line)
    line = re.sub(r"\s+([,.;:!?])(?=\s|$)", r"\1", line)
    return " ".join(line.split())
