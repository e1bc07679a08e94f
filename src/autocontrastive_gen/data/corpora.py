"""Reading corpora: every format as a stream of documents, one at a time."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from autocontrastive_gen.foundation.errors import FileError, InputError, mendable

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
    files = sorted(path for path in folder.rglob(pattern) if path.is_file())
    if not files:
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        raise FileError(f"{folder}: no file matches {pattern!r}; there are: {', '.join(names[:10]) or 'none'}")
    if format in _ROWS:
        text_field = "text" if format in ("squad", "coqa") else text_field
        yield from _texts_of_rows(files, format, text_field, where or {})
    elif where:
        raise InputError(f"where: documents of the format {format} have no fields; allowed with {', '.join(_ROWS)}")
    elif format == "parquet-lines":
        yield from documents_of_lines(text for path in files for _, text in _parquet(path, text_field, ()))
    else:
        for path in files:
            yield from _TEXTS[format](path)


DAMAGED = (UnicodeDecodeError, EOFError, lzma.LZMAError, gzip.BadGzipFile, zlib.error)
"""What reading a damaged or truncated text file raises."""


def decompressed(file: BinaryIO, name: str) -> TextIO:
    """UTF-8 text of a file, compressed with xz, gzip or bzip2 if its name says so."""
    suffix = name.rpartition(".")[2]
    opener = {"xz": lzma.open, "gz": gzip.open, "bz2": bz2.open}.get(suffix)
    return io.TextIOWrapper(opener(file) if opener else file, encoding="utf-8")


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

    return articles(path)


def _text_lines(path: Path) -> Iterator[str]:
    try:
        with decompressed(open(path, "rb"), path.name) as file:
            yield from file
    except DAMAGED as error:
        raise FileError(f"{path}: is damaged or not UTF-8 text ({error})") from error


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
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise FileError(f"{path}:{number}: is not JSON ({error.msg})") from None
            yield _row(row, text_field, wanted, f"{path}:{number}")


def _parquet(path: Path, text_field: str, wanted: Sequence[str]) -> Iterator[Row]:
    from pyarrow import ArrowInvalid, parquet

    try:
        file = parquet.ParquetFile(path)
        columns = [text_field, *wanted]
        for column in columns:
            if column not in file.schema_arrow.names:
                raise InputError(_no_field(path, column, file.schema_arrow.names))
        for batch in file.iter_batches(READ_ROWS, columns=columns):
            yield from (_row(row, text_field, wanted, path) for row in batch.to_pylist())
    except ArrowInvalid as error:
        raise FileError(f"{path}: is damaged or not a parquet file ({error})") from error


def _squad(path: Path, text_field: str, wanted: Sequence[str]) -> Iterator[Row]:
    """Articles of a file in SQuAD's format (Rajpurkar et al. 2016), without the questions."""
    content = _json(path)
    with mendable(f"{path}: lacks a field of SQuAD's format", (KeyError, TypeError)):
        for article in content["data"]:
            paragraphs = [" ".join(paragraph["context"].split()) for paragraph in article["paragraphs"]]
            row = {"title": article["title"], "text": "\n".join(paragraphs)}
            yield _row(row, text_field, wanted, path)


def _coqa(path: Path, text_field: str, wanted: Sequence[str]) -> Iterator[Row]:
    """Stories of a file in CoQA's format (Reddy et al. 2019), without the questions."""
    content = _json(path)
    with mendable(f"{path}: lacks a field of CoQA's format", (KeyError, TypeError)):
        for story in content["data"]:
            paragraphs = (" ".join(line.split()) for line in story["story"].split("\n"))
            row = {key: story[key] for key in ("id", "source", "filename")}
            yield _row(row | {"text": "\n".join(filter(None, paragraphs))}, text_field, wanted, path)


def _json(path: Path) -> Any:
    with mendable(f"{path}: is not JSON", (ValueError,)):
        return json.loads("".join(_text_lines(path)))


def _row(row: Any, text_field: str, wanted: Sequence[str], where: object) -> Row:
    names = row if isinstance(row, dict) else ()
    for field in (text_field, *wanted):
        if field not in names:
            raise InputError(_no_field(where, field, names))
    if not isinstance(row[text_field], str | None):
        raise InputError(f"{where}: {text_field!r} holds {row[text_field]!r}, which is not text")
    return {field: str(row[field]) for field in wanted}, row[text_field] or ""


def _no_field(where: object, field: str, names: Iterable[str]) -> str:
    return f"{where}: has no column {field!r}; there are: {', '.join(names)}; set text_field or where of the domain"


_ROWS: dict[str, Callable[[Path, str, Sequence[str]], Iterator[Row]]] = {
    "jsonl": _jsonl,
    "parquet": _parquet,
    "squad": _squad,
    "coqa": _coqa,
}
