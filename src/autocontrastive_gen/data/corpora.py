"""Reading corpora: every format as a stream of documents, one at a time."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from autocontrastive_gen.data.readable import readable
from autocontrastive_gen.foundation.errors import FileError, InputError, shown

READ_ROWS = 1024
Row = tuple[dict[str, str], str]
"""Fields that a filter asks for, and the text."""


def read(
    folder: Path,
    format: str,
    pattern: str = "*",
    text_field: str = "text",
    where: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[str]:
    """Texts of the documents in the files of ``folder`` that match ``pattern``, in the order of the files' names.

    Args:
        format: ``mediawiki``: articles of an XML dump; ``lines``: one document per line; ``txt``: documents separated
            by an empty line; ``jsonl`` and ``parquet``: one per row; ``parquet-lines``: one line of ``txt`` per row,
            documents continuing from file to file; ``squad``: articles, one paragraph per line; ``coqa``: stories.
        text_field: column of ``jsonl``, ``parquet`` and ``parquet-lines`` that holds the text.
        where: {field: values}; takes only documents whose fields have one of the values: columns of ``jsonl`` and
            ``parquet``, ``title`` of ``squad``, ``source`` (or ``id``, ``filename``) of ``coqa``.

    Raises:
        FileError: a file is missing or damaged.
        InputError: a file has no such field, or nothing fits ``where``.
    """
    for text in _read(folder, format, pattern, text_field, where or {}):
        yield _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", text)


_SURROGATES = re.compile("[\ud800-\udfff]")
"""Halves of characters, which JSON can write and UTF-8 cannot."""


def _read(
    folder: Path, format: str, pattern: str, text_field: str, where: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    files = sorted(path for path in folder.rglob(pattern) if path.is_file())
    if not files:
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        raise FileError(f"{folder}: no file matches {pattern!r}; there are: {', '.join(names[:10]) or 'none'}")
    if format in _ROWS:
        text_field = "text" if format in ("squad", "coqa") else text_field
        yield from _texts_of_rows(files, format, text_field, where)
    elif where:
        raise InputError(f"where: documents of the format {format} have no fields; allowed with {', '.join(_ROWS)}")
    elif format == "parquet-lines":
        yield from documents_of_lines(text for path in files for _, text in _parquet(path, text_field, ()))
    else:
        for path in files:
            yield from _TEXTS[format](path)


LONGEST_LINE = 1 << 26
"""Characters of a line, at most: a file without line ends would fill the memory."""


def decompressed(file: BinaryIO, name: str) -> TextIO:
    """UTF-8 text of a file, compressed with xz, gzip or bzip2 if its name says so."""
    suffix = name.rpartition(".")[2]
    # left to itself, lzma also tries an old format, in which a damaged byte asks for gigabytes
    opener = {"xz": partial(lzma.open, format=lzma.FORMAT_XZ), "gz": gzip.open, "bz2": bz2.open}.get(suffix)
    return io.TextIOWrapper(opener(file) if opener else file, encoding="utf-8-sig")


def bounded_lines(file: TextIO, name: object) -> Iterator[str]:
    """The lines of a file.

    Raises:
        FileError: a line is longer than ``LONGEST_LINE``.
    """
    while line := file.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise FileError(f"{name}: has a line of {LONGEST_LINE} characters or more; is it text with line ends?")
        yield line


def documents_of_lines(lines: Iterable[str]) -> Iterator[str]:
    """Documents separated by an empty line, as in CC-100; the lines of a document are its paragraphs."""
    document: list[str] = []
    for line in lines:
        if line := line.rstrip("\r\n"):
            document.append(line)
        elif document:
            yield "\n".join(document)
            document = []
    if document:
        yield "\n".join(document)


# Formats of texts alone ---------------------------------------------------------------------------------------------


def _mediawiki(path: Path) -> Iterator[str]:
    from autocontrastive_gen.data.wikimarkup import articles

    with readable(path, "a MediaWiki dump"):
        yield from articles(path)


def _text_lines(path: Path) -> Iterator[str]:
    with readable(path, "UTF-8 text"), decompressed(open(path, "rb"), path.name) as file:
        yield from bounded_lines(file, path)


def _lines(path: Path) -> Iterator[str]:
    return (line.strip() for line in _text_lines(path))


def _txt(path: Path) -> Iterator[str]:
    return documents_of_lines(_text_lines(path))


_TEXTS = {"mediawiki": _mediawiki, "lines": _lines, "txt": _txt}

# Formats whose documents have fields --------------------------------------------------------------------------------


def _texts_of_rows(
    files: Iterable[Path], format: str, text_field: str, where: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    found: dict[str, dict[str, None]] = {field: {} for field in where}
    fits = False
    for path in files:
        for fields, text in _ROWS[format](path, text_field, tuple(where)):
            for field, value in fields.items():
                found[field][value] = None
            if all(fields[field] in values for field, values in where.items()):
                fits = True
                yield text
    if where and not fits:
        seen = "; ".join(f"{field}: {', '.join(list(values)[:10])}" for field, values in found.items())
        raise InputError(f"where: no document fits {dict(where)}; there are {seen}")


def _jsonl(path: Path, text_field: str, wanted: Sequence[str]) -> Iterator[Row]:
    for number, line in enumerate(_text_lines(path), 1):
        if line.strip():
            with readable(f"{path}:{number}", "JSON"):
                row = json.loads(line)
            yield _row(row, text_field, wanted, f"{path}:{number}")


def _parquet(path: Path, text_field: str, wanted: Sequence[str]) -> Iterator[Row]:
    from pyarrow import parquet

    with readable(path, "a parquet file"):
        file = parquet.ParquetFile(path)
        columns = [text_field, *wanted]
        for column in columns:
            if column not in file.schema_arrow.names:
                raise InputError(_no_field(path, column, file.schema_arrow.names))
        for batch in file.iter_batches(READ_ROWS, columns=columns):
            yield from (_row(row, text_field, wanted, path) for row in batch.to_pylist())


def _squad(path: Path, text_field: str, wanted: Sequence[str]) -> Iterator[Row]:
    """Articles of a file in SQuAD's format (Rajpurkar et al. 2016), without the questions."""
    with readable(path, "in SQuAD's format"):
        for article in _json(path)["data"]:
            paragraphs = [" ".join(paragraph["context"].split()) for paragraph in article["paragraphs"]]
            row = {"title": article["title"], "text": "\n".join(paragraphs)}
            yield _row(row, text_field, wanted, path)


def _coqa(path: Path, text_field: str, wanted: Sequence[str]) -> Iterator[Row]:
    """Stories of a file in CoQA's format (Reddy et al. 2019), without the questions."""
    with readable(path, "in CoQA's format"):
        for story in _json(path)["data"]:
            paragraphs = (" ".join(line.split()) for line in story["story"].split("\n"))
            row = {key: story[key] for key in ("id", "source", "filename")}
            yield _row(row | {"text": "\n".join(filter(None, paragraphs))}, text_field, wanted, path)


def _json(path: Path) -> Any:
    with decompressed(open(path, "rb"), path.name) as file:
        return json.load(file)


def _row(row: Any, text_field: str, wanted: Sequence[str], where: object) -> Row:
    names = row if isinstance(row, dict) else ()
    for field in (text_field, *wanted):
        if field not in names:
            raise InputError(_no_field(where, field, names))
    return {field: str(row[field]) for field in wanted}, text_in(row, text_field, where)


def text_in(row: Mapping[str, Any], field: str, where: object) -> str:
    """The text in a field of a row, empty if it is null.

    Raises:
        InputError: the field holds something else; the message calls the row ``where``.
    """
    if not isinstance(row[field], str | None):
        held = shown(row[field])
        raise InputError(f"{where}: {field!r} holds {held}, which is not text; set text_field of the domain")
    return row[field] or ""


def _no_field(where: object, field: str, names: Iterable[str]) -> str:
    return f"{where}: has no column {field!r}; there are: {', '.join(names)}; set text_field or where of the domain"


_ROWS: dict[str, Callable[[Path, str, Sequence[str]], Iterator[Row]]] = {
    "jsonl": _jsonl,
    "parquet": _parquet,
    "squad": _squad,
    "coqa": _coqa,
}
