"""Corpora too large to keep, read over the network only as far as needed: CC-100 is one xz file of tens of GB.

What has been read is kept, still compressed, in ``.scratch/streams``. A run that was killed at any moment resumes from
there: it reads that part from disk, yields the same documents in the same order, and asks the server only for the rest.
(``datasets`` can stream such a file as well, but cannot seek in it: after a kill it reads from the first byte again.
For parquet files of the hub it can, see ``hub_streams``.)
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path

from autocontrastive_gen.data import hub_streams
from autocontrastive_gen.data.corpora import bounded_lines, decompressed, documents_of_lines
from autocontrastive_gen.data.download import HttpStream
from autocontrastive_gen.data.readable import DAMAGED
from autocontrastive_gen.foundation.digests import fingerprint
from autocontrastive_gen.foundation.errors import FileError, InputError
from autocontrastive_gen.foundation.files import SCRATCH
from autocontrastive_gen.foundation.resume import Beginning

log = logging.getLogger(__name__)

BUFFER = 1 << 20


class KeptStream(io.RawIOBase):
    """A file on a web server; the part of it that has ever been read is kept on disk."""

    def __init__(self, urls: list[str], size: int | None, kept: Path) -> None:
        self._urls, self._size = urls, size
        self._kept = Beginning(kept)
        self._chunks, self._chunk = self._kept.chunks(), memoryview(b"")
        self._remote: HttpStream | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        if self._remote is None:
            self._chunk = self._chunk or memoryview(next(self._chunks, b""))
            if self._chunk:
                count = min(len(buffer), len(self._chunk))
                buffer[:count], self._chunk = self._chunk[:count], self._chunk[count:]
                return count
            if self._kept.size == self._size:
                return 0
            log.info("reading %s from byte %d", self._urls[0], self._kept.size)
            self._remote = HttpStream(self._urls, self._kept.size, self._size)
        if count := self._remote.readinto(buffer):
            self._kept.append(memoryview(buffer)[:count])
        return count

    def discard(self) -> None:
        """Close the stream and forget what was kept of it."""
        self._kept.discard()
        self.close()

    def close(self) -> None:
        if not self.closed:
            self._kept.close()
            if self._remote is not None:
                self._remote.close()
        super().close()


def documents(record: dict, format: str = "txt", text_field: str = "text") -> Iterator[str]:
    """Documents of a streamed asset, in the files' order; ``record`` is its entry in assets.json.

    A file of a web server is ``txt``; files of the hub are ``parquet`` or ``parquet-lines``.

    Raises:
        InputError: the format is another one.
        FileError: the server cannot be reached and more text is needed, its file is not the one that ``fetch`` saw,
            or the bytes are damaged.
    """
    allowed = ("parquet", "parquet-lines") if record["kind"] == "hub" else ("txt",)
    if format not in allowed:
        raise InputError(f"format: {format} of the streamed {record['source']}; allowed: {', '.join(allowed)}")
    if record["kind"] == "url":
        return _of_text(record)
    rows = hub_streams.rows(record, text_field, SCRATCH / "streams")
    return documents_of_lines(rows) if format == "parquet-lines" else rows


def _of_text(record: dict) -> Iterator[str]:
    identity = fingerprint([record["source"], record["revision"], record["bytes"]])
    kept = SCRATCH / "streams" / identity / "beginning"
    stream = KeptStream([record["source"], *record["mirrors"]], record["bytes"], kept)
    name = record["source"].partition("?")[0]
    try:
        with decompressed(io.BufferedReader(stream, BUFFER), name) as lines:
            yield from documents_of_lines(bounded_lines(lines, name))
    except DAMAGED as error:
        stream.discard()
        raise FileError(
            f"{record['source']}: the bytes received are damaged ({error}); what was kept of them is now discarded, "
            "run the same command again to read from the start"
        ) from error
