"""Any text in any cell of a table is read back from csv, Markdown, LaTeX and the page as what it was."""

import csv
import io
import re
import unicodedata
from html.parser import HTMLParser

import pytest
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from autocontrastive_gen.report.html import page_environment
from autocontrastive_gen.report.origin import Origins
from autocontrastive_gen.report.table import Column, Number, Table
from tests.strategies import TEXT, budget

COLUMNS = [Column("first", "First", head=True), Column("score", "Score", numeric=True), Column("last", "Last")]
ROWS = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4)


def table_of(rows, title="Title"):
    entries = [{"first": first, "score": Number(0.5, 0.25, 0.75), "last": last} for first, last in rows]
    return Table("any", title, COLUMNS, entries)


def one_line(text):
    """What a reader can see of a text in a cell."""
    return "".join("\ufffd" if unicodedata.category(c) in ("Cc", "Cs") else c for c in " ".join(text.split()))


@budget(40, 1500, rows=ROWS)
def test_csv(rows):
    header, *found = csv.reader(io.StringIO(table_of(rows).csv(), newline=""))
    assert header == ["first", "score", "last"]
    assert found == [[first, "0.5", last] for first, last in rows]


@budget(40, 1000, rows=ROWS)
def test_markdown(rows):
    cells = [[]]
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(table_of(rows).markdown()):
        if token.type == "tr_open":
            cells.append([])
        if token.type == "inline":
            assert {child.type for child in token.children} <= {"text", "text_special"}, "markup in a cell"
            cells[-1].append("".join(child.content for child in token.children))
    title, header, *found = cells
    assert title == ["Title"] and header == ["First", "Score", "Last"]
    assert found == [[one_line(first), "0.500 [0.250, 0.750]", one_line(last)] for first, last in rows]


SPOKEN = {
    "textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "ldots": "…", "$-$": "−", "$\\geq$": "≥",
    "$\\leq$": "≤", "$\\rightarrow$": "→", "$\\infty$": "∞",
}  # fmt: skip
TOKEN = re.compile(r"\$[^$]*\$|\\[a-zA-Z]+|\\.|---|--|``|''|,,|<<|>>|\?`|!`|\{\}|.", re.DOTALL)
JOINED = {"---": "—", "--": "–", "``": "“", "''": "”", ",,": "„", "<<": "«", ">>": "»", "?`": "¿", "!`": "¡", "{}": ""}


def read_tex(text):
    """What TeX sets for a cell: commands, escaped characters and ligatures."""
    found = []
    for token in TOKEN.findall(text):
        if token.startswith("$") or token[1:].isalpha() and token.startswith("\\"):
            found.append(SPOKEN[token.removeprefix("\\")])
        elif token.startswith("\\"):
            found.append(token[1])
        else:
            assert token not in ("&", "%", "#", "_", "^", "~", "{", "}", "$"), f"{token} has a meaning in TeX"
            found.append(JOINED.get(token, token))
    return "".join(found)


@budget(40, 1500, rows=ROWS)
def test_latex(rows):
    body = table_of(rows).latex().partition("\\midrule\n")[2].partition("\n\\bottomrule")[0]
    for line, (first, last) in zip(body.split("\n"), rows, strict=True):
        assert line.endswith(r" \\") and not line.startswith(("[", "*")), "an argument of the end of the row before"
        found = [read_tex(cell).strip() for cell in re.split(r"(?<!\\)&", line.removesuffix(r" \\"))]
        assert found == [one_line(first), "0.500 [0.250, 0.750]", one_line(last)]


class Cells(HTMLParser):
    """The texts of the cells of a page, row by row, and every tag and attribute that is there."""

    def __init__(self):
        super().__init__()
        self.rows, self.tags, self.inside = [], set(), False

    def handle_starttag(self, tag, attributes):
        self.tags |= {tag, *(name for name, _ in attributes)}
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.inside = True
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data):
        if self.inside:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def template():
    """What the page makes of the table ``it``."""
    environment = page_environment(Origins(), many_models=True)
    source = environment.loader.get_source(environment, "index.html.j2")[0]
    return environment.from_string(source.partition("{%- macro figure")[0] + "{{ table(it) }}")


@budget(20, 400, rows=ROWS)
def test_page(rows, template):
    tags = Cells()
    tags.feed(template.render(it=table_of([("plain", "plain")])))
    found = Cells()
    found.feed(template.render(it=table_of(rows)))
    found.close()
    assert found.tags <= tags.tags, "a text has become a tag"
    assert found.rows[1:] == [[first, "0.500 [0.250, 0.750]", last] for first, last in rows]
