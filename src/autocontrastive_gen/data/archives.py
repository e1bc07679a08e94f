"""Unpacking archives from outside: nothing is written outside the target folder."""

from __future__ import annotations

import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from autocontrastive_gen.foundation.errors import FileError

SUFFIXES = (".zip", ".whl", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


def is_archive(path: Path) -> bool:
    return path.name.endswith(SUFFIXES)


def unpack(archive: Path, folder: Path, member: str = "", patterns: Sequence[str] = ()) -> None:
    """Write the files of a zip or tar archive to ``folder``.

    Names are kept inside the folder by ``zipfile`` and by the data filter of ``tarfile``.

    Args:
        member: one file, which keeps its last name, or, ending in "/", one folder, whose name is cut off.
        patterns: glob patterns of the names below that folder; empty for all of them.

    Raises:
        FileError: the archive is damaged, holds a link, a device or a name that leads out of the folder, or has
            nothing that ``member`` or one of ``patterns`` asks for.
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

    try:
        count = (_unpack_tar if tarfile.is_tarfile(archive) else _unpack_zip)(archive, folder, target)
    except tarfile.FilterError as error:
        raise FileError(f"{archive}: refused: {error}") from error
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise FileError(f"{archive}: is damaged or not an archive ({error})") from error
    if unmatched or not count:
        raise FileError(f"{archive}: holds no {', '.join(sorted(unmatched)) or 'file'} in {member or 'it'}")


def _unpack_tar(archive: Path, folder: Path, target: Callable[[str], str | None]) -> int:
    if not hasattr(tarfile, "data_filter"):
        raise FileError(f"{archive}: only Python 3.11.4 and later can open tar archives safely; use a newer Python")
    count = 0
    with tarfile.open(archive) as opened:
        for info in opened:
            if info.isdir() or (name := target(info.name)) is None:
                continue
            if not info.isreg():
                raise FileError(f"{archive}: refused: {info.name!r} is a link or a device, not a file")
            opened.extract(info.replace(name=name, deep=False), folder, filter="data")
            count += 1
        while opened.fileobj and opened.fileobj.read(1 << 20):
            pass  # only at its end does a compressed stream prove to be whole
    return count


def _unpack_zip(archive: Path, folder: Path, target: Callable[[str], str | None]) -> int:
    count = 0
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            if not info.is_dir() and (name := target(info.filename)) is not None:
                info.filename = name
                opened.extract(info, folder)
                count += 1
    return count


def _relative(name: str, member: str) -> str | None:
    """Name below the folder to write to; None if the file was not asked for."""
    if not member:
        return name
    if member.endswith("/"):
        return name[len(member) :] if name.startswith(member) else None
    return PurePosixPath(name).name if name == member else None
