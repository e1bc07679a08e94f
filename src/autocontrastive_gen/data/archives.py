"""Unpacking archives from outside: nothing is written outside the target folder."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any, Self

from autocontrastive_gen.data.readable import readable
from autocontrastive_gen.foundation.errors import FileError

SUFFIXES = (".zip", ".whl", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")

RATIO = 100
"""An archive may unpack to this many times its own size, more than any model or text does, or to ``MOST_BYTES``."""
MOST_BYTES = 1 << 30
MOST_HEADER_BYTES = 1 << 20
"""The most that a tar archive may ask to be read at once: a long name, or what goes with a name."""
XZ = b"\xfd7zXZ\x00"
"""The first bytes of an xz file."""
_MAGIC = {"zip": (b"PK\x03\x04", b"PK\x05\x06"), "gz": b"\x1f\x8b", "bz2": b"BZh", "xz": XZ}
_READ_AT_ONCE = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip
"""Types of tar headers whose content ``tarfile`` reads at once."""


def is_archive(path: Path) -> bool:
    return path.name.endswith(SUFFIXES)


def unpack(archive: Path, folder: Path, member: str = "", patterns: Sequence[str] = ()) -> None:
    """Write the files of a zip or tar archive to ``folder``.

    Names are kept inside the folder by ``zipfile`` and by the data filter of ``tarfile``.

    Args:
        member: one file, which keeps its last name, or, ending in "/", one folder, whose name is cut off.
        patterns: glob patterns of the names below that folder; empty for all of them.

    Raises:
        FileError: the archive is damaged or encrypted, unpacks to more than ``RATIO`` times its size, holds a link, a
            device or a name that leads out of the folder or is none, or has nothing that ``member`` or one of
            ``patterns`` asks for.
    """
    unmatched = set(patterns)

    def target(name: str) -> str | None:
        """Name below ``folder``; None for a file that was not asked for."""
        relative = _relative(name, member)
        if relative is None or not patterns:
            return relative
        matching = {pattern for pattern in patterns if fnmatch(relative, pattern)}
        unmatched.difference_update(matching)
        return relative if matching else None

    with readable(archive, "an archive"):
        form = _form(archive)
        count = _unpack_zip(archive, folder, target) if form == "zip" else _unpack_tar(archive, form, folder, target)
    if unmatched or not count:
        raise FileError(f"{archive}: holds no {', '.join(sorted(unmatched)) or 'file'} in {member or 'it'}")


class _Header(tarfile.TarInfo):
    """A header that does not ask ``tarfile`` to read gigabytes at once, as one with a damaged length does."""

    @classmethod
    def frombuf(cls, *arguments: Any) -> Self:
        """Read a header.

        Raises:
            tarfile.ReadError: what belongs to it is longer than ``MOST_HEADER_BYTES``.
        """
        header = super().frombuf(*arguments)
        if header.type in _READ_AT_ONCE and header.size > MOST_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {header.size} bytes")
        return header


def _unpack_tar(archive: Path, compression: str, folder: Path, target: Callable[[str], str | None]) -> int:
    if not hasattr(tarfile, "data_filter"):
        raise FileError(f"{archive}: only Python 3.11.4 and later can open tar archives safely; use a newer Python")
    count, room = 0, _room(archive)
    with tarfile.open(archive, f"r:{compression}", tarinfo=_Header) as opened:
        for info in opened:
            if info.isdir() or (name := target(info.name)) is None:
                continue
            if not info.isreg():
                raise FileError(f"{archive}: refused: {info.name!r} is a link or a device, not a file")
            room = _left(archive, room, info.size)
            _check_name(archive, info.name)
            try:
                opened.extract(info.replace(name=name, deep=False), folder, filter="data")
            except tarfile.FilterError as error:
                raise FileError(f"{archive}: refused: {error}") from error
            count += 1
        while opened.fileobj and (rest := opened.fileobj.read(1 << 20)):
            room = _left(archive, room, len(rest))  # only at its end does a compressed stream prove to be whole
    return count


def _form(archive: Path) -> str:
    """What an archive is, by its first bytes: zip, or what a tar archive is compressed with, "" for nothing.

    Left to find out, ``zipfile`` takes a tar archive whose last file is a zip for that zip, and ``tarfile`` also tries
    the old format of LZMA, which takes almost any bytes for the size of a dictionary and allocates it.
    """
    with open(archive, "rb") as file:
        start = file.read(6)
    return next((name for name, magic in _MAGIC.items() if start.startswith(magic)), "")


def _unpack_zip(archive: Path, folder: Path, target: Callable[[str], str | None]) -> int:
    count, room = 0, _room(archive)
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            if not info.is_dir() and (name := target(info.filename)) is not None:
                room = _left(archive, room, info.file_size)  # zipfile reads no more than is stated there
                _check_name(archive, info.filename)
                info.filename = name
                opened.extract(info, folder)
                count += 1
    return count


def _room(archive: Path) -> int:
    """Bytes that an archive may unpack to."""
    return max(MOST_BYTES, RATIO * archive.stat().st_size)


def _left(archive: Path, room: int, size: int) -> int:
    """What is left of ``room`` after ``size`` bytes."""
    if size > room:
        raise FileError(f"{archive}: refused: it unpacks to more than {RATIO} times its size; unpack it yourself")
    return room - size


def _check_name(archive: Path, name: str) -> None:
    if name.rpartition("/")[2] in ("", ".", ".."):
        raise FileError(f"{archive}: refused: {name!r} is not the name of a file")


def _relative(name: str, member: str) -> str | None:
    """Name below the folder to write to; None if the file was not asked for."""
    if not member:
        return name
    if member.endswith("/"):
        return name[len(member) :] if name.startswith(member) else None
    return PurePosixPath(name).name if name == member else None
