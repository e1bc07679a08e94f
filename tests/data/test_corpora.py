"""Reading corpora, wiki markup, and the cleaning rules."""

import bz2
import gzip
import json
import lzma

import pyarrow
import pytest
from pyarrow import parquet

from autocontrastive_gen.data import rules
from autocontrastive_gen.data.corpora import read
from autocontrastive_gen.data.wikimarkup import articles, clean

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


@pytest.mark.parametrize("format", ["squad", "coqa"])
@pytest.mark.parametrize(
    ("content", "message"), [("[]", "lacks a field"), ('{"data": [{"id": 1}]}', "lacks a field"), ("{", "is not JSON")]
)
def test_json_of_another_form(tmp_path, format, content, message):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ValueError, match=rf"a\.json: {message}"):
        list(read(tmp_path, format))


@pytest.mark.parametrize(
    ("format", "name", "content", "message"),
    [
        ("jsonl", "a.jsonl", b'{"text": "x"}\n{oops', r"a\.jsonl:2: is not JSON"),
        ("txt", "a.txt", b"\xff\xfe\x00", "not UTF-8"),
        ("txt", "a.txt.xz", lzma.compress(b"words " * 1000)[:-20], "damaged"),
        ("txt", "a.txt.gz", b"no gzip", "damaged"),
        ("parquet", "a.parquet", b"PAR1 no parquet", "damaged or not a parquet"),
        ("mediawiki", "a.xml.bz2", bz2.compress(b"<mediawiki><page>"), "not a complete MediaWiki dump"),
        ("mediawiki", "a.xml.bz2", bz2.compress(b"<mediawiki></mediawiki>")[:-10], "not a complete MediaWiki dump"),
    ],
)
def test_damaged_files(tmp_path, format, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(OSError, match=message):
        list(read(tmp_path, format))


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


def test_dump_gives_articles_only(tmp_path):
    sentence = "This page holds a sentence of more than eight words"
    pages = "".join(
        f"<page><title>{i}</title><ns>{space}</ns>{extra}<revision><text>{sentence} {i}.</text></revision></page>"
        for i, (space, extra) in enumerate([(0, ""), (4, ""), (0, '<redirect title="x" />'), (0, "")])
    )
    dump = f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/">{pages}</mediawiki>'
    (tmp_path / "dump.xml").write_text(dump)
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
