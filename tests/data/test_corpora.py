"""Reading corpora, wiki markup, and the cleaning rules."""

import bz2
import codecs
import gzip
import io
import json
import lzma

import pyarrow
import pytest
from pyarrow import parquet

from autocontrastive_gen.data import corpora, rules
from autocontrastive_gen.data.corpora import read
from autocontrastive_gen.data.wikimarkup import articles, clean
from autocontrastive_gen.foundation.errors import UserError

DOCUMENTS = ["First one.\nIts second paragraph.", "Second: “quoted” – ünïcode."]


def test_txt_and_its_compressed_forms(tmp_path):
    text = "\n" + "\n\n\n".join(DOCUMENTS) + "\n"
    for name, content in {
        "a.txt": text.encode(),
        "b.txt.xz": lzma.compress(text.encode()),
        "c.txt.gz": gzip.compress(text.encode()),
        "d.txt.bz2": bz2.compress(text.replace("\n", "\r\n").encode()),
    }.items():
        (tmp_path / name).write_bytes(content)
    assert list(read(tmp_path, "txt")) == DOCUMENTS * 4
    assert list(read(tmp_path, "txt", "*.xz")) == DOCUMENTS


def test_lines(tmp_path):
    (tmp_path / "news.cor").write_text("one\n two \n\nthree")
    assert list(read(tmp_path, "lines")) == ["one", "two", "", "three"]


def test_jsonl_and_parquet(tmp_path):
    rows = [{"body": text} for text in DOCUMENTS] + [{"body": None}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "b.parquet", row_group_size=1)
    for format, pattern in (("jsonl", "*.jsonl"), ("parquet", "*.parquet")):
        assert list(read(tmp_path, format, pattern, "body")) == [*DOCUMENTS, ""]
        with pytest.raises(ValueError, match="no column 'text'; there are: body; set text_field"):
            list(read(tmp_path, format, pattern))


def test_rows_whose_fields_have_a_value(tmp_path):
    rows = [{"text": text, "kind": kind} for text, kind in (("one", "a"), ("two", "b"), ("three", 3))]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    parquet.write_table(pyarrow.Table.from_pylist([{**row, "kind": str(row["kind"])} for row in rows]), tmp_path / "p")
    for format, pattern in (("jsonl", "*.jsonl"), ("parquet", "p")):
        assert list(read(tmp_path, format, pattern, where={"kind": ["a", "3"]})) == ["one", "three"]
        with pytest.raises(ValueError, match="no document fits {'kind': .*}; there are kind: a, b, 3"):
            list(read(tmp_path, format, pattern, where={"kind": ["c"]}))
        with pytest.raises(ValueError, match="no column 'sort'; there are: text, kind; set text_field or where"):
            list(read(tmp_path, format, pattern, where={"sort": ["c"]}))
    with pytest.raises(ValueError, match="documents of the format lines have no fields; allowed with jsonl, parquet,"):
        list(read(tmp_path, "lines", where={"kind": ["a"]}))


def test_articles_of_squad(tmp_path):
    articles = [
        {
            "title": "Bells",
            "paragraphs": [{"context": "A bell  rings.\n\nLoudly.", "qas": [{"id": 1}]}, {"context": "Two."}],
        },
        {"title": "Rivers", "paragraphs": [{"context": "It flows.", "qas": []}]},
    ]
    (tmp_path / "dev.json").write_text(json.dumps({"version": "1.1", "canary": "NEVER TRAIN", "data": articles}))
    assert list(read(tmp_path, "squad")) == ["A bell rings. Loudly.\nTwo.", "It flows."]
    assert list(read(tmp_path, "squad", where={"title": ["Rivers"]})) == ["It flows."]


def test_stories_of_coqa(tmp_path):
    stories = [
        {
            "id": str(i),
            "source": source,
            "filename": "f",
            "story": f"Chapter {i} \n\nThe  bell rang. ",
            "questions": [{}],
        }
        for i, source in enumerate(("gutenberg", "cnn", "mctest"))
    ]
    (tmp_path / "coqa.json").write_text(json.dumps({"canary": "NEVER TRAIN", "data": stories}))
    texts = [f"Chapter {i}\nThe bell rang." for i in range(3)]
    assert list(read(tmp_path, "coqa")) == texts
    assert list(read(tmp_path, "coqa", where={"source": ["gutenberg", "mctest"]})) == texts[::2]
    with pytest.raises(ValueError, match="there are source: gutenberg, cnn, mctest"):
        list(read(tmp_path, "coqa", where={"source": ["race"]}))


def table(values):
    """A parquet file with these values as its column of text."""
    file = io.BytesIO()
    parquet.write_table(pyarrow.table({"text": values}), file)
    return file.getvalue()


def dump(text):
    return f"<mediawiki><page><ns>0</ns><revision><text>{text}</text></revision></page></mediawiki>".encode()


DEEP = b"[" * 100_000
ENTITIES = b"".join(b'<!ENTITY %c "%s">' % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(12))
WRONG = {
    "jsonl: a line that is no JSON": ("a.jsonl", b'{"text": "x"}\n{oops', r"a\.jsonl:2: is damaged or not JSON"),
    "jsonl: nested deeply": ("a.jsonl", b'{"text": ' + DEEP, r"a\.jsonl:1: is damaged or not JSON \(RecursionError"),
    "jsonl: a number of 5,000 digits": ("a.jsonl", b'{"text": ' + b"9" * 5000, "a.jsonl:1: is damaged or not JSON"),
    "jsonl: UTF-16": ("a.jsonl", '{"text": "x"}'.encode("utf-16"), "a.jsonl: is damaged or not UTF-8"),
    "jsonl: a list": ("a.jsonl", b"[1]", "a.jsonl:1: has no column 'text'"),
    "jsonl: a number": ("a.jsonl", b'{"text": 1}', "'text' holds 1, which is not text"),
    "squad: a list": ("a.squad", b"[]", "a.squad: is damaged or not in SQuAD's format"),
    "squad: no field": ("a.squad", b'{"data": [{"id": 1}]}', "not in SQuAD's format .*'paragraphs'"),
    "squad: cut": ("a.squad", b"{", "a.squad: is damaged or not in SQuAD's format"),
    "squad: nested deeply": ("a.squad", DEEP, "a.squad: is damaged or not in SQuAD's format"),
    "squad: numbers": ("a.squad", b'{"data": [{"paragraphs": [{"context": 3}]}]}', "not in SQuAD's format"),
    "coqa: a list": ("a.coqa", b"[]", "a.coqa: is damaged or not in CoQA's format"),
    "coqa: no field": ("a.coqa", b'{"data": [{"id": 1}]}', "not in CoQA's format .*'story'"),
    "coqa: numbers": ("a.coqa", b'{"data": [{"story": 3}]}', "not in CoQA's format"),
    "txt: Latin-1": ("a.txt", "Grüße".encode("latin-1"), "a.txt: is damaged or not UTF-8"),
    "txt: cut xz": ("a.txt.xz", lzma.compress(b"words " * 1000)[:-20], "damaged"),
    "txt: no gzip": ("a.txt.gz", b"no gzip", "damaged"),
    "txt: no bzip2": ("a.txt.bz2", b"BZh9" + bytes(50), "damaged"),
    "parquet: noise": ("a.parquet", b"PAR1 no parquet", "damaged or not a parquet"),
    "parquet: damaged footer": ("a.parquet", b"PAR1" + bytes(100) + b"PAR1", "damaged or not a parquet"),
    "parquet: numbers": ("a.parquet", table([1, 2]), "'text' holds 1, which is not text; set text_field"),
    "parquet: lists": ("a.parquet", table([["a"], ["b"]]), "'text' holds \\['a'\\], which is not text"),
    "parquet: bytes": ("a.parquet", table([b"\xff"]), r"'text' holds b'\\xff', which is not text"),
    "mediawiki: cut": ("a.mediawiki.bz2", bz2.compress(b"<mediawiki><page>"), "not a complete MediaWiki dump"),
    "mediawiki: cut bzip2": ("a.mediawiki.bz2", bz2.compress(b"<mediawiki></mediawiki>")[:-10], "not a complete"),
    "mediawiki: no bzip2": ("a.mediawiki.bz2", b"BZh9" + bytes(50), "damaged or not a MediaWiki dump"),
    "mediawiki: no such character": ("a.mediawiki", dump("&#x110000;"), "not a complete MediaWiki dump"),
    "mediawiki: unknown encoding": ("a.mediawiki", b'<?xml version="1.0" encoding="x"?><a/>', "damaged or not a"),
    "mediawiki: entities that explode": (
        "a.mediawiki",
        b'<!DOCTYPE l [<!ENTITY a "aaaaaaaaaa">' + ENTITIES + b"]>" + dump("&m;"),
        "not a complete MediaWiki dump",
    ),
}
"""Files by format: name, content, and what is said of them."""


@pytest.mark.parametrize("case", WRONG)
def test_a_file_that_cannot_be_read_is_named(tmp_path, case):
    name, content, message = WRONG[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        list(read(tmp_path, case.partition(":")[0]))
    assert str(tmp_path / name) in str(caught.value) and len(str(caught.value)) < 500


def test_a_line_without_an_end_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(corpora, "LONGEST_LINE", 1000)
    (tmp_path / "a.txt").write_text("word " * 199 + "\n" + "word " * 1000)
    with pytest.raises(UserError, match="a.txt: has a line of 1000 characters or more"):
        list(read(tmp_path, "lines"))


def test_marks_and_halves_of_characters(tmp_path):
    """A byte order mark is no text, and half a character can't be written."""
    (tmp_path / "a.jsonl").write_bytes(codecs.BOM_UTF8 + b'{"text": "one \\ud800"}\n{"text": "two"}\n')
    assert list(read(tmp_path, "jsonl")) == ["one \N{REPLACEMENT CHARACTER}", "two"]
    (tmp_path / "a.txt").write_bytes(codecs.BOM_UTF8 + b"one\n")
    assert list(read(tmp_path, "lines", "*.txt")) == ["one"]


def test_no_file_matches(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(OSError, match=r"no file matches '\*\.jsonl'; there are: a.txt"):
        list(read(tmp_path, "jsonl", "*.jsonl"))


PAGE = """{{Infobox place|name=Barford|map=[[File:Map.svg]]}}
'''Barford''' is a [[village]] on the [[River Tor (North)|river Tor]],<ref name="a">{{cite book|title=Rivers}}</ref>
about {{convert|12|km|mi}} from {{lang|fr|Ville}} ({{lang-la|Barfordia}}; {{IPA|x}}).
[[File:Barford.jpg|thumb|left|The ''old'' [[bell]] of Barford, which rang from the tower for two hundred years.]]

It has a market&nbsp;hall<!-- hidden --> (; built 1820) and {{spaces}}an [http://example.org old mill] beside the water.

== History ==
The first bell of the village was cast in the ''spring'' of the year 1764 by two brothers.
* A list item that is long enough to pass as a paragraph of its own here.
{| class="wikitable"
| A cell of a table that is long enough to pass as a paragraph of its own here.
|}
Broken [[link that its author never closed and that runs through a whole line of words.

=== See also ===
A line under a heading that is left out although it holds a good many words.
== Geography ==
The river Tor bends around the village twice before it meets the road to the sea.
== References ==
A note that is long enough to pass as a paragraph of its own if nobody looked.
=== Part of the references ===
Another note that is long enough to pass as a paragraph of its own if nobody looked.
[[Category:Villages that are long enough to pass as a paragraph if nobody looked here]]"""

PLAIN = """Barford is a village on the river Tor,
about 12 km from Ville (Barfordia).
It has a market hall (built 1820) and an old mill beside the water.
The first bell of the village was cast in the spring of the year 1764 by two brothers.
The river Tor bends around the village twice before it meets the road to the sea."""


def test_wiki_markup_leaves_running_text():
    # Lines of fewer than eight words are dropped: here the second of the first paragraph.
    kept = [line for line in PLAIN.split("\n") if len(line.split()) >= 8]
    assert clean(PAGE).split("\n") == kept


@pytest.mark.parametrize("reference", ["&#1;", "&#10;", "&#xD800;", "&nbsp;"])
def test_references_to_characters_that_are_none_are_spaces(reference):
    """They could be taken for our own marks of lists and headings."""
    assert (
        clean(f"{reference}Words, {reference} nine of them in all, in one line.")
        == "Words, nine of them in all, in one line."
    )


def test_dump_gives_articles_only(tmp_path):
    sentence = "This page holds a sentence of more than eight words"
    pages = "".join(
        f"<page><title>{i}</title><ns>{space}</ns>{extra}<revision><text>{sentence} {i}.</text></revision></page>"
        for i, (space, extra) in enumerate([(0, ""), (4, ""), (0, '<redirect title="x" />'), (0, "")])
    )
    namespace = "http://www.mediawiki.org/xml/export-0.10/"
    (tmp_path / "dump.xml").write_text(f'<mediawiki xmlns="{namespace}">{pages}</mediawiki>')
    assert list(articles(tmp_path / "dump.xml")) == [f"{sentence} 0.", f"{sentence} 3."]


@pytest.mark.parametrize(
    ("rule", "raw", "cleaned"),
    [
        (
            "wikitext",
            " The band 's album , released in 1 @,@ 999 ( well @-@ known ) : it sold 3 @.@ 5 % more ; and so on . End",
            "The band's album, released in 1,999 (well-known): it sold 3.5% more; and so on. End",
        ),
        ("bookcorpus", "she did n't know . why ? he 's here , ( really )", "she didn't know. why? he's here, (really)"),
        (
            "wikinews",
            "Date: Pillars of Wikinews writing Writing an article The council met on Monday and spoke for hours: end",
            "The council met on Monday and spoke for hours",
        ),
        ("none", " As it is . ", "As it is ."),
    ],
)
def test_rules(rule, raw, cleaned):
    assert rules.clean(raw, rule)[0] == cleaned


def test_minimum_length_counts_words_before_detokenisation():
    raw = " ".join(["word ,"] * 26)
    assert rules.clean(raw, "wikitext")[1] == 52
    assert len(rules.clean(raw, "wikitext")[0].split()) < 51
