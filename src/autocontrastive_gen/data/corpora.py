"""Reading corpora: every format as a flow of documents, one at a time."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

from autocontrastive_gen.foundation.errors import FileError, InputError

READ_ROWS = 1024


def read(folder: Path, format: str, pattern: str = "*", text_field: str = "text") -> Iterator[str]:
    """Texts of the documents in the files of ``folder`` that match ``pattern``, in the order of the files' names.

    ``mediawiki``: articles of an XML dump; ``lines``: a document a line; ``txt``: documents apart by an empty line;
    ``jsonl`` and ``parquet``: the column ``text_field``; ``parquet-lines``: lines of ``txt`` in that column, documents
    going on from file to file. OSError for missing or damaged files.
    """
    files = sorted(path for path in folder.rglob(pattern) if path.is_file())
    if not files:
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        raise FileError(f"{folder}: no file matches {pattern!r}; there are: {', '.join(names[:10]) or 'none'}")
    if format == "parquet-lines":
        yield from documents_of_lines(line for path in files for line in _parquet(path, text_field))
    else:
        for path in files:
            yield from _READERS[format](path, text_field)


DAMAGED = (UnicodeDecodeError, EOFError, lzma.LZMAError, gzip.BadGzipFile, zlib.error)
"""What reading a damaged or cut off text file raises."""


def decompressed(file: BinaryIO, name: str) -> TextIO:
    """UTF-8 text of a file that, by the end of its name, is compressed with xz, gzip, bzip2 or not at all."""
    suffix = name.rpartition(".")[2]
    opener = {"xz": lzma.open, "gz": gzip.open, "bz2": bz2.open}.get(suffix)
    return io.TextIOWrapper(opener(file) if opener else file, encoding="utf-8")


def documents_of_lines(lines: Iterable[str]) -> Iterator[str]:
    """Documents apart by an empty line (CC-100's form, too); the lines of one document are its paragraphs."""
    document: list[str] = []
    for line in lines:
        if line := line.rstrip("\r\n"):
            document.append(line)
        elif document:
            yield "\n".join(document)
            document = []
    if document:
        yield "\n".join(document)


def _mediawiki(path: Path, text_field: str) -> Iterator[str]:
    from autocontrastive_gen.data.wikimarkup import articles

    return articles(path)


def _text_lines(path: Path) -> Iterator[str]:
    try:
        with decompressed(open(path, "rb"), path.name) as file:
            yield from file
    except DAMAGED as error:
        raise FileError(f"{path}: is damaged or not UTF-8 text ({error})") from error


def _lines(path: Path, text_field: str) -> Iterator[str]:
    return (line.strip() for line in _text_lines(path))


def _txt(path: Path, text_field: str) -> Iterator[str]:
    return documents_of_lines(_text_lines(path))


def _jsonl(path: Path, text_field: str) -> Iterator[str]:
    for number, line in enumerate(_text_lines(path), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise FileError(f"{path}:{number}: is not JSON ({error.msg})") from None
            yield _column(row, text_field, f"{path}:{number}")


def _parquet(path: Path, text_field: str) -> Iterator[str]:
    from pyarrow import ArrowInvalid, parquet

    try:
        file = parquet.ParquetFile(path)
        if text_field not in file.schema_arrow.names:
            raise InputError(_no_column(path, text_field, file.schema_arrow.names))
        for batch in file.iter_batches(READ_ROWS, columns=[text_field]):
            yield from (text or "" for text in batch.column(0).to_pylist())
    except ArrowInvalid as error:
        raise FileError(f"{path}: is damaged or no parquet file ({error})") from error


def _column(row: object, text_field: str, where: str) -> str:
    if not isinstance(row, dict) or text_field not in row:
        raise InputError(_no_column(where, text_field, row if isinstance(row, dict) else ()))
    if not isinstance(row[text_field], str | None):
        raise InputError(f"{where}: {text_field!r} holds {row[text_field]!r} and no text")
    return row[text_field] or ""


def _no_column(where: object, text_field: str, columns: Iterable[str]) -> str:
    return f"{where}: has no column {text_field!r}; there are: {', '.join(columns)}; set text_field of the domain"


_READERS = {"mediawiki": _mediawiki, "lines": _lines, "txt": _txt, "jsonl": _jsonl, "parquet": _parquet}
