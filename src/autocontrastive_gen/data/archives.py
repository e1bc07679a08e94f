"""Opening archives from outside: nothing is written beside the folder that was asked for."""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

from autocontrastive_gen.foundation.errors import FileError

SUFFIXES = (".zip", ".whl", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


def is_archive(path: Path) -> bool:
    return path.name.endswith(SUFFIXES)


def unpack(archive: Path, folder: Path, member: str = "") -> None:
    """Write the files of an archive to ``folder``.

    ``member`` takes only one file, which keeps its last name, or, ending in "/", one folder, whose name is cut off.
    OSError for links, devices, absolute names and names that climb out of the folder, and if nothing matches.
    """
    try:
        opened = tarfile.open(archive) if tarfile.is_tarfile(archive) else zipfile.ZipFile(archive)
        with opened:
            members = _tar_members(opened) if isinstance(opened, tarfile.TarFile) else _zip_members(opened)
            count = 0
            for name, regular, open_member in members:
                relative = _relative(name, member)
                if relative is None:
                    continue
                _check(archive, name, relative, regular)
                target = folder / relative
                target.parent.mkdir(parents=True, exist_ok=True)
                with open_member() as source, open(target, "wb") as file:
                    shutil.copyfileobj(source, file, 1 << 20)
                count += 1
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise FileError(f"{archive}: is damaged or no archive ({error})") from error
    if not count:
        raise FileError(f"{archive}: holds no {member or 'file'}")


def _tar_members(archive: tarfile.TarFile):
    for info in archive:
        if not info.isdir():
            yield info.name, info.isreg(), lambda info=info: archive.extractfile(info)


def _zip_members(archive: zipfile.ZipFile):
    for info in archive.infolist():
        if not info.is_dir():
            kind = stat.S_IFMT(info.external_attr >> 16)
            yield info.filename, kind in (0, stat.S_IFREG), lambda info=info: archive.open(info)


def _relative(name: str, member: str) -> str | None:
    """Name below the folder to write to; None if the file was not asked for."""
    if not member:
        return name
    if member.endswith("/"):
        return name[len(member) :] if name.startswith(member) else None
    return PurePosixPath(name).name if name == member else None


def _check(archive: Path, name: str, relative: str, regular: bool) -> None:
    path = PurePosixPath(relative)
    if path.is_absolute() or ".." in path.parts or "\\" in relative or ":" in path.parts[0]:
        raise FileError(f"{archive}: refused, because {name!r} would be written outside the folder it belongs to")
    if not regular:
        raise FileError(f"{archive}: refused, because {name!r} is a link or a device and no file")
