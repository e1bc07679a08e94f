"""Every kind of asset: fetched whole and verified, kept once, or refused with the way to provide it."""

import gzip
import hashlib
import io
import random
import subprocess
import tarfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import pytest

from autocontrastive_gen.data import assets, sources
from autocontrastive_gen.data.assets import provide
from autocontrastive_gen.experiment.asset_schema import HubAsset, PathAsset, PypiAsset, UrlAsset

TEXT = b"some text\n"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


DIGEST = hashlib.sha256(TEXT).hexdigest()
FOLDER = Path("runs/fetch/asset")


def files_of(folder):
    return {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()}


def wheel_bytes(**entries: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in sorted(entries.items()):
            archive.writestr(zipfile.ZipInfo(f"package/{name}.txt"), content)
    return buffer.getvalue()


def tar_gz() -> bytes:
    """Three members of noise, the same bytes each time."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for number in range(3):
            info = tarfile.TarInfo(f"{number}.bin")
            info.size = 5000
            archive.addfile(info, io.BytesIO(random.Random(number).randbytes(info.size)))
    return buffer.getvalue()


def damaged(content: bytes, place: float) -> bytes:
    """The content with one bit flipped."""
    changed = bytearray(content)
    changed[int(place * len(content))] ^= 4
    return bytes(changed)


@pytest.fixture
def pip(monkeypatch):
    """Stands in for the package registry; counts downloads."""

    class Pip:
        wheel, calls, foreign_only = wheel_bytes(data=TEXT, other=b"x"), 0, False

        def __call__(self, command, **kwargs):
            assert command[1:4] == ["-m", "pip", "download"] and "--no-deps" in command
            self.calls += 1
            if self.foreign_only and not any(part.startswith("--platform") for part in command):
                return subprocess.CompletedProcess(command, 1, "", "ERROR: No matching distribution found")
            folder = Path(command[command.index("--dest") + 1])
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "package-1.0-py3-none-any.whl").write_bytes(self.wheel)
            return subprocess.CompletedProcess(command, 0, "", "")

    fake = Pip()
    monkeypatch.setattr(sources.subprocess, "run", fake)
    return fake


def pypi(file="package/data.txt", sha256=DIGEST):
    return PypiAsset(kind="pypi", package="package", version="1.0", file=file, sha256=sha256, licence="MIT", note="n")


class TestPypi:
    def test_takes_a_file_once(self, project, pip):
        record = provide("asset", pypi(), FOLDER)
        assert record == {
            "kind": "pypi",
            "source": "package/data.txt of the wheel package==1.0",
            "revision": "1.0",
            "sha256": DIGEST,
            "licence": "MIT",
            "note": "n",
            "evaluation_only": False,
            "files": {"data.txt": DIGEST},
        }
        assert files_of(FOLDER) == {"data.txt"}
        assert provide("asset", pypi(), FOLDER) == record and pip.calls == 1

    def test_takes_a_folder_whose_wheel_is_checked(self, project, pip):
        asset = pypi("package/", hashlib.sha256(pip.wheel).hexdigest())
        assert set(provide("asset", asset, FOLDER)["files"]) == {"data.txt", "other.txt"} == files_of(FOLDER)
        with pytest.raises(OSError, match=f"wheel .* expected sha256 {'0' * 64}, found"):
            provide("asset", pypi("package/", "0" * 64), FOLDER)

    def test_wrong_file_names_both_digests_and_is_fetched_again(self, project, pip):
        pip.wheel = wheel_bytes(data=b"other text")
        with pytest.raises(OSError, match=f"expected sha256 {DIGEST}, found .*run again, or check assets.asset"):
            provide("asset", pypi(), FOLDER)
        assert not FOLDER.exists()
        pip.wheel = wheel_bytes(data=TEXT)
        provide("asset", pypi(), FOLDER)
        assert pip.calls == 2

    def test_damaged_wheel_is_fetched_again(self, project, pip):
        pip.wheel = pip.wheel[:-40]
        with pytest.raises(OSError, match="damaged"):
            provide("asset", pypi(), FOLDER)
        pip.wheel = wheel_bytes(data=TEXT)
        provide("asset", pypi(), FOLDER)

    def test_a_wheel_of_another_platform_is_accepted(self, project, pip):
        pip.foreign_only = True
        provide("asset", pypi(), FOLDER)
        assert pip.calls == 2

    def test_no_registry_says_how_to_provide_it(self, project, monkeypatch):
        failed = subprocess.CompletedProcess([], 1, "", "WARNING: x\nERROR: no route to host\n")
        monkeypatch.setattr(sources.subprocess, "run", lambda *args, **kwargs: failed)
        with pytest.raises(OSError, match=r"asset a: .*package==1.0 .*ERROR: no route to host.*pip config.*kind: path"):
            provide("a", pypi(), FOLDER)


class TestKeptCopy:
    @pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"swapped"), Path.unlink])
    @pytest.mark.parametrize("file", ["content/data.txt", "record.json.*"])
    def test_what_is_damaged_is_fetched_again(self, project, pip, damage, file, caplog):
        record = provide("asset", pypi(), FOLDER)
        sources.drop_archives()
        damaged = next(Path(".scratch/assets").rglob(file))
        damage(damaged)
        assert provide("asset", pypi(), FOLDER) == record and pip.calls == 2
        assert (FOLDER / "data.txt").read_bytes() == TEXT
        if damage is not Path.unlink or "content" in file:
            assert f"{damaged}: damaged; this is dropped and made again" in caplog.text

    def test_a_swapped_archive_is_downloaded_again(self, project, pip, caplog):
        provide("asset", pypi(), FOLDER)
        wheel = next(Path(".scratch/assets").rglob("*.whl.*"))
        wheel.write_bytes(wheel_bytes(data=TEXT, other=b"swapped"))
        assert provide("other", pypi("package/other.txt", sha256(b"x")), FOLDER)["files"] == {"other.txt": sha256(b"x")}
        assert pip.calls == 2 and f"{wheel}: damaged" in caplog.text

    def test_an_unfinished_entry_is_ignored(self, project, pip, monkeypatch):
        monkeypatch.setattr(assets.Kept, "write_json", lambda *args: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            provide("asset", pypi(), FOLDER)
        monkeypatch.undo()
        monkeypatch.chdir(project)
        monkeypatch.setattr(sources.subprocess, "run", pip)
        assert provide("asset", pypi(), FOLDER)["files"] == {"data.txt": DIGEST}


class TestPath:
    def asset(self, path, **more):
        return PathAsset(kind="path", path=str(path), licence="MIT", **more)

    def test_a_file_and_a_folder(self, project):
        Path("in/deep").mkdir(parents=True)
        Path("in/a.txt").write_bytes(TEXT)
        Path("in/deep/b.txt").write_bytes(b"b")
        assert provide("asset", self.asset("in/a.txt", sha256=DIGEST), FOLDER)["files"] == {"a.txt": DIGEST}
        record = provide("asset", self.asset("in"), FOLDER)
        assert set(record["files"]) == {"a.txt", "deep/b.txt"} == files_of(FOLDER)
        again = provide("asset", self.asset("in", sha256=record["sha256"]), FOLDER)
        assert again == record
        Path("in/a.txt").write_bytes(b"edited")
        assert provide("asset", self.asset("in"), FOLDER)["sha256"] != record["sha256"]

    def test_links_of_a_hub_cache_are_followed(self, project):
        Path("blobs").mkdir()
        Path("blobs/1").write_bytes(TEXT)
        Path("snapshot").mkdir()
        Path("snapshot/a.txt").symlink_to("../blobs/1")
        provide("asset", self.asset("snapshot"), FOLDER)
        assert not (FOLDER / "a.txt").is_symlink() and (FOLDER / "a.txt").read_bytes() == TEXT

    def test_faults(self, project):
        with pytest.raises(OSError, match="asset a: missing does not exist; .* edit assets.a"):
            provide("a", self.asset("missing"), FOLDER)
        Path("empty").mkdir()
        with pytest.raises(OSError, match="holds no file"):
            provide("a", self.asset("empty"), FOLDER)
        Path("a.txt").write_bytes(b"other")
        FOLDER.mkdir(parents=True)
        (FOLDER / "good").write_bytes(b"good")
        with pytest.raises(OSError, match=f"expected sha256 {DIGEST}, found"):
            provide("a", self.asset("a.txt", sha256=DIGEST), FOLDER)
        assert files_of(FOLDER) == {"good"}  # what was there stays whole


class TestUrl:
    def asset(self, server, name="text.txt", **more):
        return UrlAsset(kind="url", url=server.url(name), licence="MIT", **more)

    def test_verified_and_kept(self, project, server):
        server.files["text.txt"] = TEXT
        record = provide("asset", self.asset(server, sha256=DIGEST), FOLDER)
        assert (record["revision"], record["files"]) == ('"v1"', {"text.txt": DIGEST})
        provide("asset", self.asset(server, sha256=DIGEST), FOLDER)
        assert len(server.requests) == 1

    def test_mirror(self, project, server):
        server.files["mirror.txt"] = TEXT
        asset = self.asset(server, mirrors=[server.url("mirror.txt")], sha256=DIGEST)
        assert provide("asset", asset, FOLDER)["files"] == {"text.txt": DIGEST}

    def test_wrong_bytes(self, project, server):
        server.files["text.txt"] = b"wrong"
        with pytest.raises(OSError, match=f"expected sha256 {DIGEST}, found .*damaged or the source has changed"):
            provide("asset", self.asset(server, sha256=DIGEST), FOLDER)
        server.files["text.txt"] = TEXT
        provide("asset", self.asset(server, sha256=DIGEST), FOLDER)

    def test_archive_is_opened(self, project, server):
        server.files["all.zip"] = wheel_bytes(data=TEXT)
        assert provide("asset", self.asset(server, "all.zip"), FOLDER)["files"] == {"package/data.txt": DIGEST}

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("f.txt", b"", "the file is empty"),
            ("f.txt", b"\n<!DOCTYPE HTML><title>Directory listing", "the server sent a web page"),
            ("f.tar.gz", b"<html>", "the server sent a web page"),
            ("f.tar.gz", damaged(tar_gz(), place=0.5), "damaged or not an archive"),
            ("f.tar.gz", damaged(tar_gz(), place=0.99), "damaged or not an archive"),
            ("f.tar.gz", tar_gz()[:-5], "damaged or not an archive"),
            ("f.tar.gz", tar_gz()[:900], "damaged or not an archive"),
            ("f.zip", wheel_bytes(data=TEXT)[:-30], "damaged or not an archive"),
        ],
    )
    def test_what_is_not_the_file_is_refused_without_a_digest(self, project, server, name, content, message):
        server.files[name] = content
        with pytest.raises(OSError, match=message):
            provide("a", self.asset(server, name), FOLDER)
        assert not FOLDER.exists()
        server.files[name] = {"f.txt": TEXT, "f.tar.gz": tar_gz(), "f.zip": wheel_bytes(data=TEXT)}[name]
        assert provide("a", self.asset(server, name), FOLDER)["files"]

    def test_a_page_is_taken_if_it_is_called_one(self, project, server):
        server.files["f.html"] = b"<html>"
        assert provide("a", self.asset(server, "f.html"), FOLDER)["files"]

    def test_an_answer_without_a_file_is_an_error(self, project, server):
        server.files["text.txt"], server.status = b"", 204
        with pytest.raises(OSError, match="text.txt: the server answered 204, without the file"):
            provide("a", self.asset(server), FOLDER)

    def test_missing_names_mirrors_and_path(self, project, server):
        with pytest.raises(OSError, match=r"404.*assets\.a\.mirrors.*kind: path"):
            provide("a", self.asset(server), FOLDER)

    def test_a_stream_is_only_probed(self, project, server):
        server.files["en.txt.xz"] = b"\xfd7zXZ\x00" + bytes(5_000_000)
        record = provide("asset", self.asset(server, "en.txt.xz", stream=True), FOLDER)
        assert (record["stream"], record["bytes"], record["revision"]) == (True, 5_000_006, '"v1"')
        assert files_of(FOLDER) == set()
        server.files["en.txt.xz"] = b"<html>"
        with pytest.raises(OSError, match="does not begin like an xz file"):
            provide("asset", self.asset(server, "en.txt.xz", stream=True), FOLDER)


class TestHub:
    def asset(self, **more):
        return HubAsset(kind="hub", repo="someone/tiny", revision="main", licence="MIT", **more)

    @pytest.fixture
    def cache(self, project, monkeypatch):
        """The hub's cache as a download leaves it, and no network."""
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(project / "hub"))
        return project / "hub" / "models--someone--tiny"

    def test_taken_from_the_cache_of_an_offline_machine(self, cache):
        commit = "1" * 40
        (cache / "blobs").mkdir(parents=True)
        (cache / "snapshots" / commit).mkdir(parents=True)
        (cache / "refs").mkdir()
        (cache / "refs" / "main").write_text(commit)
        (cache / "blobs" / "1").write_bytes(TEXT)
        for name in ("config.json", "weights.h5"):
            (cache / "snapshots" / commit / name).symlink_to("../../blobs/1")
        record = provide("asset", self.asset(files=["*.json"]), FOLDER)
        assert (record["revision"], set(record["files"])) == (commit, {"config.json"})
        with pytest.raises(OSError, match="no file matches"):
            provide("asset", self.asset(files=["*.bin"]), FOLDER)

    def test_damaged_weights_in_the_cache_are_not_taken(self, cache, caplog):
        commit, digest = "1" * 40, sha256(TEXT)
        for folder in ("blobs", f"snapshots/{commit}", "refs"):
            (cache / folder).mkdir(parents=True)
        (cache / "refs" / "main").write_text(commit)
        (cache / "blobs" / digest).write_bytes(b"damaged")
        (cache / "snapshots" / commit / "weights").symlink_to(f"../../blobs/{digest}")
        with pytest.raises(OSError, match="asset a: hub model someone/tiny"):  # there is no network
            provide("a", self.asset(), FOLDER)
        assert f"{cache / 'blobs' / digest}: damaged" in caplog.text
        (cache / "blobs" / digest).write_bytes(TEXT)
        assert provide("a", self.asset(), FOLDER)["files"] == {"weights": digest}

    def test_missing_says_how_to_provide_it(self, cache):
        with pytest.raises(
            OSError, match=r"asset a: hub model someone/tiny at revision main .*HF_ENDPOINT.*kind: path"
        ):
            provide("a", self.asset(), FOLDER)

    def test_gated_names_the_token(self, project, monkeypatch):
        import huggingface_hub
        from huggingface_hub.errors import GatedRepoError

        def gated(*args, **kwargs):
            raise GatedRepoError("restricted", response=Mock(headers={}))

        monkeypatch.setattr(huggingface_hub, "snapshot_download", gated)
        with pytest.raises(OSError, match="accept its terms on the hub and set HF_TOKEN"):
            provide("a", self.asset(), FOLDER)


def test_of_two_that_want_an_asset_at_once_one_fetches_it(project, pip, monkeypatch, caplog):
    def slow_pip(command, **kwargs):
        time.sleep(0.3)
        return pip(command, **kwargs)

    monkeypatch.setattr(sources.subprocess, "run", slow_pip)
    with ThreadPoolExecutor(2) as both:
        records = list(both.map(lambda folder: provide("asset", pypi(), folder), (FOLDER, FOLDER.with_name("other"))))
    assert records[0] == records[1] and pip.calls == 1
    assert "another process brings the same asset: waiting until it ends" in caplog.text
