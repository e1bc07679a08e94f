"""Resume state that is damaged in every way a small file can be: it is dropped, named once, and made again."""

import os
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from autocontrastive_gen.foundation.resume import Beginning, Journal, Kept


def damages(content: bytes) -> Iterator[bytes]:
    """The content cut at every place, with every bit flipped, and with bytes added."""
    yield from (content[:end] for end in range(len(content)))
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)
    yield content + b"\0"


def said(caplog) -> list[str]:
    """What the log has said since the last call."""
    lines = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return lines


class TestKept:
    def put(self, folder, content: bytes):
        with Kept(folder).write("a.bin") as temporary:
            temporary.write_bytes(content)
        return Kept(folder).find("a.bin")

    def test_a_file_keeps_its_bytes_and_replaces_the_one_before(self, tmp_path):
        kept = Kept(tmp_path / "folder")
        assert kept.find("a.bin") is None and kept.names() == []
        for content in (b"one", b"two", b"two", b""):
            assert self.put(kept.folder, content).read_bytes() == content
            assert kept.names() == ["a.bin"] and len(os.listdir(kept.folder)) == 1

    def test_every_damage_is_noticed_and_named_once(self, tmp_path, caplog):
        for content in damages(b"some content"):
            path = self.put(tmp_path, b"some content")
            path.write_bytes(content)
            assert Kept(tmp_path).find("a.bin") is None
            assert said(caplog) == [f"{path}: damaged; this is dropped and made again"]
            assert Kept(tmp_path).find("a.bin") is None and not path.exists()
            assert said(caplog) == []

    def test_the_older_one_serves_if_the_newer_one_is_damaged(self, tmp_path, monkeypatch):
        """Killed before the older file was removed; the newer one never reached the disk whole."""
        old = self.put(tmp_path, b"old")
        content = old.read_bytes()
        newer = self.put(tmp_path, b"newer")
        old.write_bytes(content)
        os.utime(old, (1, 1))
        assert Kept(tmp_path).find("a.bin") == newer
        newer.write_bytes(b"")
        assert Kept(tmp_path).find("a.bin") == old

    def test_a_failed_write_leaves_what_was_there(self, tmp_path):
        path = self.put(tmp_path, b"old")
        with suppress(RuntimeError), Kept(tmp_path).write("a.bin") as temporary:
            temporary.write_bytes(b"half")
            raise RuntimeError
        assert Kept(tmp_path).find("a.bin") == path and os.listdir(tmp_path) == [path.name]

    def test_clear_removes_what_was_kept_and_nothing_else(self, tmp_path):
        (tmp_path / "mine.txt").write_text("mine")
        self.put(tmp_path, b"state")
        Kept(tmp_path).clear()
        assert os.listdir(tmp_path) == ["mine.txt"]

    def test_json_keeps_every_digit(self, tmp_path):
        value = {"a": 0.1 + 0.2, "b": [1, None, "ß"]}
        Kept(tmp_path).write_json("a.json", value)
        assert Kept(tmp_path).read_json("a.json") == value
        assert Kept(tmp_path).read_json("b.json") is None

    def test_content_reaches_the_disk_before_its_name_does(self, tmp_path, monkeypatch):
        steps = []
        replace, fsync = os.replace, os.fsync
        monkeypatch.setattr(os, "replace", lambda *names: (steps.append("name"), replace(*names)))
        monkeypatch.setattr(os, "fsync", lambda file: (steps.append(os.fstat(file).st_size), fsync(file)))
        self.put(tmp_path, b"12345")
        assert steps[:2] == [5, "name"] and len(steps) == 3


VALUES = [["a", 0.1 + 0.2], ["b", "text\nwith a line\r and \u2028"], ["c", [1, True]]]


def journal(path) -> list:
    with closing(Journal(path)) as opened:
        return list(opened.values)


class TestJournal:
    @pytest.fixture
    def path(self, tmp_path):
        with closing(Journal(tmp_path / "folder" / "journal")) as opened:
            for value in VALUES:
                opened.append(value)
        return tmp_path / "folder" / "journal"

    def test_values_come_back(self, path):
        assert journal(path) == VALUES

    def test_every_damage_costs_the_rest_alone(self, path, caplog):
        whole = path.read_bytes()
        lines = whole.splitlines(keepends=True)
        for content in damages(whole):
            path.write_bytes(content)
            good = next((n for n, line in enumerate(lines) if not content.startswith(b"".join(lines[: n + 1]))), 3)
            start = len(b"".join(lines[:good]))
            assert journal(path) == VALUES[:good]
            assert said(caplog) == (
                [f"{path}: damaged from byte {start} on; this is dropped and made again"]
                if start < len(content)
                else []
            )
            with closing(Journal(path)) as opened:
                for value in VALUES[good:]:
                    opened.append(value)
            assert path.read_bytes() == whole and said(caplog) == []

    def test_cut_drops_the_last_ones(self, path):
        with closing(Journal(path)) as opened:
            opened.cut(1)
            opened.append("new")
        assert journal(path) == [VALUES[0], "new"]


CHUNKS = [b"one", b"twotwo", b"3"]


def beginning(path) -> bytes:
    with closing(Beginning(path)) as opened:
        return b"".join(opened.chunks())


class TestBeginning:
    @pytest.fixture
    def path(self, tmp_path):
        with closing(Beginning(tmp_path / "bytes")) as opened:
            assert list(opened.chunks()) == []
            for chunk in CHUNKS:
                opened.append(chunk)
            assert opened.size == 10
        return tmp_path / "bytes"

    @pytest.mark.parametrize("name", ["bytes", "bytes.digests"])
    def test_every_damage_costs_the_rest_alone(self, path, name, caplog):
        damaged = path.with_name(name)
        before = {file: file.read_bytes() for file in (path, path.with_name("bytes.digests"))}
        for content in damages(before[damaged]):
            damaged.write_bytes(content)
            found = beginning(path)
            assert found in (b"", b"one", b"onetwotwo", b"onetwotwo3") and path.read_bytes() == found
            assert len(said(caplog)) <= 1
            with closing(Beginning(path)) as opened:
                good = len(list(opened.chunks()))
                for chunk in CHUNKS[good:]:
                    opened.append(chunk)
            assert {file: file.read_bytes() for file in before} == before and said(caplog) == []

    def test_a_flipped_bit_is_named(self, path, caplog):
        path.write_bytes(b"one" + b"twothree"[:6] + b"3")
        assert beginning(path) == b"one"
        assert said(caplog) == [f"{path}: damaged from byte 3 on; this is dropped and made again"]

    def test_complete_it_is_moved_and_discarded_it_is_gone(self, path, tmp_path):
        Beginning(path).move(tmp_path / "whole")
        assert (tmp_path / "whole").read_bytes() == b"onetwotwo3" and os.listdir(tmp_path) == ["whole"]
        Beginning(path).discard()
        assert os.listdir(tmp_path) == ["whole"]
