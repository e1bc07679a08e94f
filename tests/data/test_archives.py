"""Unpacking archives from outside."""

import io
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from autocontrastive_gen.data import archives
from autocontrastive_gen.data.archives import unpack
from autocontrastive_gen.foundation.errors import FileError


def make_zip(path, entries, mode=0o100644):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return path


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_takes_one_file_or_one_folder_or_all(tmp_path):
    entries = {"package/data/a.txt": "a", "package/data/deep/b.txt": "b", "package/other.txt": "c"}
    wheel = make_zip(tmp_path / "x.whl", entries)
    for member, expected in {
        "package/data/a.txt": {"a.txt": "a"},
        "package/data/": {"a.txt": "a", "deep/b.txt": "b"},
        "": entries,
    }.items():
        folder = tmp_path / f"to-{len(expected)}"
        unpack(wheel, folder, member)
        assert files_of(folder) == expected


def test_a_tar_archive_that_ends_in_a_zip_is_a_tar_archive(tmp_path):
    inner = make_zip(tmp_path / "inner.zip", {"deep.txt": "b"})
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name in ("PKG-INFO", "inner.zip"):
            archive.add(inner, name)
    unpack(tmp_path / "x.tar", tmp_path / "to")
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == ["PKG-INFO", "inner.zip"]


NAMES_LEADING_OUT = ["../out.txt", "/out.txt", "a/../../out.txt", "../../../../../../../../../tmp/acd-out.txt"]


def make_tar(path, entries):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content.encode()))
    return path


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize("name", NAMES_LEADING_OUT)
def test_nothing_is_written_outside_the_folder(tmp_path, make, name):
    archive = make(tmp_path / "x.archive", {name: "bad"})
    inside = tmp_path / "in" / "to"
    with suppress(OSError):
        unpack(archive, inside)
    found = {path for path in tmp_path.rglob("*") if path.is_file()} - {archive}
    assert all(path.is_relative_to(inside) for path in found)
    assert not Path("/out.txt").exists() and not Path("/tmp/acd-out.txt").exists()


def test_tar_refuses_names_that_lead_out(tmp_path):
    with pytest.raises(OSError, match="refused.*outside the destination"):
        unpack(make_tar(tmp_path / "x.tar.gz", {"../out.txt": "bad"}), tmp_path / "to")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_tar_refuses_links_and_devices(tmp_path, kind):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(OSError, match="link or a device"):
        unpack(tmp_path / "x.tar", tmp_path / "to")


def test_zip_writes_a_link_as_the_text_it_holds(tmp_path):
    unpack(make_zip(tmp_path / "x.zip", {"link": "/etc/passwd"}, mode=0o120777), tmp_path / "to")
    assert not (tmp_path / "to/link").is_symlink() and (tmp_path / "to/link").read_text() == "/etc/passwd"


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_patterns_choose_files_of_a_folder(tmp_path, make):
    entries = {"package-1/a/task.json": "a", "package-1/b/task.json": "b", "package-1/b/task.py": "code", "x": "x"}
    archive = make(tmp_path / "x.archive", entries)
    unpack(archive, tmp_path / "to", "package-1/", ["a/task.json", "b/*.json"])
    assert files_of(tmp_path / "to") == {"a/task.json": "a", "b/task.json": "b"}
    with pytest.raises(OSError, match=r"holds no c/\*, d/task.json in package-1/"):
        unpack(archive, tmp_path / "to", "package-1/", ["a/*", "c/*", "d/task.json"])


def test_tar_gz(tmp_path):
    unpack(make_tar(tmp_path / "x.tar.gz", {"folder/a.txt": "a"}), tmp_path / "to")
    assert files_of(tmp_path / "to") == {"folder/a.txt": "a"}


def test_names_what_is_missing_or_damaged(tmp_path):
    archive = make_zip(tmp_path / "x.zip", {"a": "a" * 1000})
    with pytest.raises(OSError, match="holds no file in b"):
        unpack(archive, tmp_path / "to", "b")
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(OSError, match="damaged"):
        unpack(archive, tmp_path / "to")


def changed(archive, sign, at, value):
    """The archive with other bytes at a place after the last occurrence of ``sign``."""
    content = bytearray(archive.read_bytes())
    start = content.rfind(sign) + at
    content[start : start + len(value)] = value
    archive.write_bytes(content)
    return archive


ENTRY = b"PK\1\2"
"""Begins an entry of a zip archive's directory."""
WRONG = {
    "encrypted": (ENTRY, 8, b"\1", "damaged or not an archive .*encrypted"),
    "an unknown compression": (ENTRY, 10, b"\x63", "compression method is not supported"),
    "of a later version": (ENTRY, 6, b"\x63", "zip file version"),
    "a wrong place": (ENTRY, 42, b"\xff\xff\xff\x7f", "Truncated file header"),
    "a wrong content": (b"hello", 0, b"jello", "Bad CRC-32"),
}


@pytest.mark.parametrize("case", WRONG)
def test_zip_that_cannot_be_read_is_named(tmp_path, case):
    sign, at, value, message = WRONG[case]
    archive = changed(make_zip(tmp_path / "x.zip", {"a": "hello"}), sign, at, value)
    with pytest.raises(FileError, match=rf"x\.zip: .*{message}"):
        unpack(archive, tmp_path / "to")


def test_a_zip_without_its_beginning_is_named(tmp_path):
    archive = make_zip(tmp_path / "x.zip", {"a": "hello"})
    archive.write_bytes(archive.read_bytes()[10:])
    with pytest.raises(FileError, match=r"x\.zip: is damaged or not an archive"):
        unpack(archive, tmp_path / "to")


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize("name", [".", "..", "a/.", "a/.."])
def test_names_that_are_no_names_are_refused(tmp_path, make, name):
    with pytest.raises(FileError, match="refused: .* is not the name of a file"):
        unpack(make(tmp_path / "x.tar.gz", {name: "bad"}), tmp_path / "to")
    assert not (tmp_path / "to").exists() or not list((tmp_path / "to").iterdir())


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_an_archive_that_explodes_is_refused_before_it_fills_the_disk(tmp_path, make, monkeypatch):
    monkeypatch.setattr(archives, "MOST_BYTES", 10_000)
    monkeypatch.setattr(archives, "RATIO", 0)
    archive = make(tmp_path / "x.tar.gz", {f"{i}": "0" * 4000 for i in range(5)})
    with pytest.raises(FileError, match="refused: it unpacks to more than"):
        unpack(archive, tmp_path / "to")
    assert len(list((tmp_path / "to").iterdir())) < 5


def test_a_header_that_asks_for_gigabytes_is_refused(tmp_path):
    info = tarfile.TarInfo("name")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 4 << 30
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(FileError, match="a.tar: is damaged or not an archive .*a header of 4294967296 bytes"):
        unpack(tmp_path / "a.tar", tmp_path / "to")
