"""Damaged and altered files of every format: what is read, or the project's error; never another, nor without bound."""

import bz2
import gzip
import io
import itertools
import lzma
import shutil
import tarfile
import zipfile

import pyarrow
import pytest
from hypothesis import strategies as st
from pyarrow import parquet

from autocontrastive_gen.data.archives import unpack
from autocontrastive_gen.data.corpora import read
from autocontrastive_gen.data.original_formats import READERS, rows_of
from autocontrastive_gen.foundation.errors import FileError
from tests.strategies import JUNK, altered, bounded, budget, damaged, json_bytes, outcome

TEXTS = ["One sentence of the first document, which has eight words or more.\nIts second paragraph.", "Zwei: “ü” 光."]
ROWS = [{"text": text, "kind": "a"} for text in TEXTS]
SQUAD = {"data": [{"title": text[:3], "paragraphs": [{"context": text, "qas": []}]} for text in TEXTS]}
COQA = {"data": [{"id": "1", "source": "cnn", "filename": "f", "story": text} for text in TEXTS]}


def dump(*texts):
    pages = (f"<page><title>T</title><ns>0</ns><revision><text>{text}</text></revision></page>" for text in texts)
    return f"<mediawiki xmlns='http://www.mediawiki.org/xml/export-0.10/'>{''.join(pages)}</mediawiki>".encode()


MARKUP = [
    "'''A''' [[link|to]] {{convert|1|km}} {{lang|fr|x}} &lt;ref>note&lt;/ref> words", "== H ==", "=", "* item", "{|",
    "|}",
    "[[File:a.jpg|thumb|", "{{", "}}", "[[", "]]", "&amp;nbsp;", "&amp;#65;", "&lt;!--", "-->", "&lt;math>", "''", "\n",
    "http://example.org ", "[http://a b]", "words " * 9, ";", ":", "#", "----", "&lt;nowiki>", "{{{1|}}}", "__TOC__",
    "&amp;#1;", "&amp;#x110000;", "&amp;#xD800;", "&amp;#10;",
]  # fmt: skip
PIECES = st.lists(st.sampled_from(MARKUP) | st.text(alphabet="ab'[]{}|=*#:;! \n", max_size=5), max_size=12)


def rows_as_parquet():
    file = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), file)
    return file.getvalue()


LINES = "\n\n".join(TEXTS).encode()
FILES = {
    "a.txt": ("txt", LINES),
    "a.txt.gz": ("txt", gzip.compress(LINES, mtime=0)),
    "a.txt.xz": ("txt", lzma.compress(LINES)),
    "a.txt.bz2": ("lines", bz2.compress(LINES)),
    "a.jsonl": ("jsonl", b"\n".join(map(json_bytes, ROWS))),
    "a.parquet": ("parquet", rows_as_parquet()),
    "b.parquet": ("parquet-lines", rows_as_parquet()),
    "a.squad": ("squad", json_bytes(SQUAD)),
    "a.coqa": ("coqa", json_bytes(COQA)),
    "a.xml": ("mediawiki", dump(*TEXTS, *MARKUP[:2])),
    "a.xml.bz2": ("mediawiki", bz2.compress(dump(*TEXTS))),
}
"""A small file of every format of corpora."""


def texts_of(folder, name, format, content):
    """Texts of one file, some of them if it never ends, or the project's error."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / name).write_bytes(content)
    where = {"kind": ["a"]} if format in ("jsonl", "parquet") else None
    with bounded():
        found = outcome(lambda: list(itertools.islice(read(folder, format, where=where), 10_000)))
    if not isinstance(found, Exception):
        assert len(found) < 10_000 and all(isinstance(text, str) and text.encode() is not None for text in found)
    return found


@pytest.mark.parametrize("name", FILES)
def test_the_files_are_whole(name, tmp_path):
    assert "".join(texts_of(tmp_path / "in", name, *FILES[name])).count("eight words or more") == 1


@pytest.mark.parametrize("name", FILES)
@budget(12, 400, data=st.data())
def test_damaged_corpora(name, data, tmp_path):
    format, content = FILES[name]
    texts_of(tmp_path / "in", name, format, data.draw(damaged(content)))


@pytest.mark.parametrize(("name", "content"), [("a.jsonl", ROWS), ("a.squad", SQUAD), ("a.coqa", COQA)])
@budget(25, 800, data=st.data())
def test_altered_json(name, content, data, tmp_path):
    content = data.draw(altered(content))
    rows = content if name == "a.jsonl" else [content]
    texts_of(tmp_path / "in", name, FILES[name][0], b"\n".join(map(json_bytes, rows)))


@budget(40, 1500, pieces=PIECES)
def test_any_wiki_markup(pieces, tmp_path):
    found = texts_of(tmp_path / "in", "a.xml", "mediawiki", dump("".join(pieces)))
    assert isinstance(found, list) and len(found) == 1 and not set("\x00\x01") & set(found[0])


CHOICES = {"text": ["a", "b"], "label": ["A", "B"]}
ORIGINAL = {
    ("EleutherAI/lambada_openai", None): {"text": "The Bell rang."},
    ("Rowan/hellaswag", None): {
        "ind": 1, "activity_label": "x", "ctx_a": "a", "ctx_b": "b", "ctx": "c", "endings": ["d"], "label": 0,
    },
    ("baber/piqa", None): {"goal": "g", "sol1": "a", "sol2": "b", "label": 1},
    ("allenai/winogrande", None): {"sentence": "s _", "option1": "a", "option2": "b", "answer": "1"},
    ("allenai/ai2_arc", None): {"id": "1", "question": {"stem": "q", "choices": [{"text": "a", "label": "A"}]},
                                "choices": CHOICES, "answerKey": "A"},
    ("truthfulqa/truthful_qa", "multiple_choice"): {
        "question": "q", "mc1_targets": {"a": 1, "b": 0}, "mc2_targets": {"a": 1, "b": 0},
    },
    ("truthfulqa/truthful_qa", "generation"): {
        "examples": [{"Question": "q", "Best answer": "a", "True answers": ["a"], "False answers": ["b"]}]
    },
    ("nyu-mll/blimp", None): {"sentence_good": "a", "sentence_bad": "b"},
    ("hails/bigbench", None): {"examples": [{"input": "i", "target_scores": {"a": 1, "b": 0}}], "task_prefix": "t"},
}  # fmt: skip
"""One item of every data set whose publishers' files are JSON."""


@pytest.mark.parametrize("dataset", ORIGINAL, ids=lambda dataset: dataset[0])
@budget(12, 300, data=st.data())
def test_altered_files_of_publishers(dataset, data, tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(json_bytes(data.draw(altered([ORIGINAL[dataset]] * 2) | JUNK)))
    with bounded():
        rows = outcome(lambda: rows_of(path, *dataset))
    assert isinstance(rows, Exception) or rows and all(isinstance(row, dict) for row in rows)


@pytest.mark.parametrize(
    ("dataset", "item", "message"),
    [
        (("EleutherAI/lambada_openai", None), {"text": 3}, "'int' object has no attribute 'lower'"),
        (("truthfulqa/truthful_qa", "generation"), "question", "an item is 'question', not a mapping"),
    ],
)
def test_items_that_are_none_are_named(dataset, item, message, tmp_path):
    (tmp_path / "a.json").write_bytes(json_bytes([item]))
    with pytest.raises(FileError, match=f"a.json: is damaged or not in the original format of {dataset[0]}.*{message}"):
        rows_of(tmp_path / "a.json", *dataset)


def test_every_data_set_in_json_is_altered():
    others = {name for name, _ in READERS} - {name for name, _ in ORIGINAL}
    assert others == {"cimec/lambada", "AI21Labs/factor"}, "plain text, the same reader as its sister's; and csv"


NAMES = ("data/a.txt", "data/deep/b.txt", "c.txt")


def zipped():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in NAMES:
            archive.writestr(zipfile.ZipInfo(name), name * 20)
    return file.getvalue()


def tarred(mode):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name in NAMES:
            info = tarfile.TarInfo(name)
            info.size = len(name) * 20
            archive.addfile(info, io.BytesIO(name.encode() * 20))
    return file.getvalue()


ARCHIVES = {"a.zip": zipped(), "a.tar": tarred("w"), "a.tar.xz": tarred("w:xz"), "a.tar.bz2": tarred("w:bz2")}


@pytest.mark.parametrize("name", ARCHIVES)
@budget(30, 800, data=st.data())
def test_damaged_archives(name, data, tmp_path):
    outside, inside = tmp_path / "outside", tmp_path / "outside" / "in" / "to"
    shutil.rmtree(outside, ignore_errors=True)
    outside.mkdir()
    (outside / name).write_bytes(data.draw(damaged(ARCHIVES[name])))
    with bounded():
        found = outcome(lambda: unpack(outside / name, inside, data.draw(st.sampled_from(["", "data/"]))))
    assert found is None or isinstance(found, FileError)
    files = [path for path in outside.rglob("*") if path.is_file()]
    assert all(path.is_relative_to(inside) for path in files if path != outside / name)
    assert sum(path.stat().st_size for path in files) < 1e6
