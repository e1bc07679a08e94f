"""Archives from outside."""

import io
import tarfile
import zipfile

import pytest

from autocontrastive_gen.data.archives import unpack


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


@pytest.mark.parametrize("name", ["../out.txt", "/out.txt", "a/../../out.txt", "a\\..\\out.txt", "C:/out.txt"])
def test_refuses_names_that_climb_out(tmp_path, name):
    archive = make_zip(tmp_path / "x.zip", {name: "bad"})
    with pytest.raises(OSError, match="outside the folder"):
        unpack(archive, tmp_path / "in" / "to")
    assert not list(tmp_path.rglob("out.txt"))


def test_refuses_links(tmp_path):
    with pytest.raises(OSError, match="link or a device"):
        unpack(make_zip(tmp_path / "x.zip", {"link": "/etc/passwd"}, mode=0o120777), tmp_path / "to")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(OSError, match="link or a device"):
        unpack(tmp_path / "x.tar", tmp_path / "to")


def test_tar_gz(tmp_path):
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("folder/a.txt")
        info.size = 1
        archive.addfile(info, io.BytesIO(b"a"))
    unpack(tmp_path / "x.tar.gz", tmp_path / "to")
    assert files_of(tmp_path / "to") == {"folder/a.txt": "a"}


def test_names_what_is_missing_or_damaged(tmp_path):
    archive = make_zip(tmp_path / "x.zip", {"a": "a" * 1000})
    with pytest.raises(OSError, match="holds no b"):
        unpack(archive, tmp_path / "to", "b")
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(OSError, match="damaged"):
        unpack(archive, tmp_path / "to")
