"""Resume state: the files from which an interrupted run continues.

A power cut leaves files empty, cut short or out of date, and a disk may flip a bit. So resume state reaches the disk
before anything relies on it, and carries digests. What does not check out when it is read is dropped, with one line in
the log that names the file, and its writer makes it again.

``Kept`` holds whole files in any format, ``Journal`` grows by JSON lines, ``Beginning`` by chunks of bytes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from autocontrastive_gen.foundation.digests import file_sha256
from autocontrastive_gen.foundation.files import parse_json, write_json

log = logging.getLogger(__name__)

DIGITS = 16
"""Hexadecimal digits of sha256 that are kept: enough to find any accident."""
SYNC_SECONDS = 10.0
"""A file that grows is written through to the disk this often: the most work that a power cut costs."""


def digest(content: bytes | memoryview) -> str:
    """The first ``DIGITS`` digits of the sha256 of ``content``."""
    return hashlib.sha256(content).hexdigest()[:DIGITS]


def sync(path: Path) -> None:
    """Return once the content of a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def say_damaged(path: Path, start: int | None = None) -> None:
    """Log that a file, or its bytes from ``start`` on, will be dropped."""
    where = "" if start is None else f" from byte {start} on"
    log.warning("%s: damaged%s; this is dropped and made again", path, where)


class Kept:
    """A folder of files that are each whole or absent.

    On disk a file's name is followed by the digest of its content, ``checkpoint.safetensors.<digest>``: the file keeps
    its own format, and content and digest are replaced in one step.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def find(self, name: str) -> Path | None:
        """Path of the file ``name`` if its content checks out; what does not is dropped."""
        found = self._versions(name)
        if len(found) > 1:  # a process died before it removed the older one
            found.sort(key=os.path.getmtime, reverse=True)
        for path in found:
            with suppress(FileNotFoundError):  # another process of this run has dropped it
                if file_sha256(path)[:DIGITS] == path.suffix[1:]:
                    return path
                self.drop(path)
        return None

    def drop(self, path: Path) -> None:
        """Remove a damaged file; the log names it."""
        say_damaged(path)
        path.unlink(missing_ok=True)

    @contextmanager
    def write(self, name: str) -> Iterator[Path]:
        """A temporary path for the content of ``name``; it replaces the old one if the block succeeds."""
        self.folder.mkdir(parents=True, exist_ok=True)
        old, temporary = self._versions(name), self.folder / f".{name}.tmp"
        try:
            yield temporary
            sync(temporary)
            new = self.folder / f"{name}.{file_sha256(temporary)[:DIGITS]}"
            os.replace(temporary, new)
            sync(self.folder)
        finally:
            temporary.unlink(missing_ok=True)
        for path in old:
            if path != new:
                path.unlink(missing_ok=True)

    def read_json(self, name: str) -> Any:
        """Value that ``write_json`` kept, or None."""
        path = self.find(name)
        return None if path is None else parse_json(path.read_text(encoding="utf-8"))

    def write_json(self, name: str, value: Any) -> None:
        """Keep a JSON-like value, with every digit of its floats."""
        with self.write(name) as temporary:
            write_json(temporary, value, digits=17)

    def names(self) -> list[str]:
        """Names of the files, whether or not they check out."""
        return sorted({path.stem for path in self._files()})

    def clear(self) -> None:
        """Remove all files that were kept here."""
        for path in self._files():
            path.unlink()

    def _versions(self, name: str) -> list[Path]:
        """Files of the name ``name``: two if a process died between two steps of ``write``."""
        return [path for path in self._files() if path.stem == name]

    def _files(self) -> list[Path]:
        with suppress(FileNotFoundError):
            return [self.folder / name for name in os.listdir(self.folder) if _KEPT.search(name)]
        return []


_KEPT = re.compile(rf"^[^.].*\.[0-9a-f]{{{DIGITS}}}$")


class Journal:
    """A file of JSON values, one per line after the digest of the line, that grows at its end.

    ``values`` holds those that were there. At the first line that does not check out, the rest of the file is dropped.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, "a+b", buffering=0)  # a killed process loses nothing
        self._synced = time.monotonic()
        sync(self.path.parent)
        self.values: list[Any] = []
        self._ends = [0]
        self._read()

    def _read(self) -> None:
        self._file.seek(0)
        content = self._file.read()
        for line in content.splitlines(keepends=True):
            mark, _, text = line.partition(b" ")
            if not text.endswith(b"\n") or mark.decode("latin-1") != digest(text):
                break
            self.values.append(json.loads(text))
            self._ends.append(self._ends[-1] + len(line))
        if self._ends[-1] < len(content):
            say_damaged(self.path, self._ends[-1])
            self.cut(len(self.values))

    def append(self, value: Any) -> None:
        """Add a value."""
        text = json.dumps(value).encode() + b"\n"
        line = digest(text).encode() + b" " + text
        self._file.write(line)
        self.values.append(value)
        self._ends.append(self._ends[-1] + len(line))
        if time.monotonic() - self._synced > SYNC_SECONDS:
            self.sync()

    def cut(self, count: int) -> None:
        """Drop all values but the first ``count``."""
        del self.values[count:], self._ends[count + 1 :]
        self._file.truncate(self._ends[-1])

    def sync(self) -> None:
        """Return once all of it is on the disk."""
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def close(self) -> None:
        """Write everything through to the disk."""
        if not self._file.closed:
            self.sync()
            self._file.close()


class Beginning:
    """The beginning of a stream of bytes, kept in a file that grows; ``<path>.digests`` holds a digest per chunk.

    First read all that is there with ``chunks``, then add to it with ``append``.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._digests = Journal(self.path.with_name(self.path.name + ".digests"))
        self._file = open(self.path, "a+b", buffering=0)
        self._synced = time.monotonic()
        self.size = 0
        """Bytes that checked out or were added."""

    def chunks(self) -> Iterator[bytes]:
        """The bytes that are there, chunk by chunk; from the first chunk that does not check out, they are dropped."""
        self._file.seek(0)
        self.size = 0
        for number, (length, expected) in enumerate(list(self._digests.values)):
            chunk = self._file.read(length)
            if digest(chunk) != expected:
                say_damaged(self.path, self.size)
                self._digests.cut(number)
                break
            self.size += length
            yield chunk
        self._file.truncate(self.size)  # bytes whose digest was not written before a kill, too

    def append(self, chunk: bytes | memoryview) -> None:
        """Add bytes at the end."""
        self._file.write(chunk)
        self._digests.append([len(chunk), digest(chunk)])
        self.size += len(chunk)
        if time.monotonic() - self._synced > SYNC_SECONDS:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def close(self) -> None:
        """Write everything through to the disk."""
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()
            self._digests.close()

    def discard(self) -> None:
        """Close and remove it."""
        self.close()
        self.path.unlink(missing_ok=True)
        self._digests.path.unlink(missing_ok=True)

    def move(self, target: Path) -> None:
        """Close it and make its file ``target``: the stream is complete."""
        self.close()
        os.replace(self.path, target)
        self._digests.path.unlink(missing_ok=True)
