"""Downloads from a web server that breaks connections, is replaced by a mirror, or changes its file."""

import random
from contextlib import closing

import pytest

from autocontrastive_gen.data.download import HttpStream, StreamChanged, download
from autocontrastive_gen.foundation.resume import Beginning

CONTENT = random.Random(0).randbytes(300_000)


def read_all(stream):
    parts = []
    while part := stream.read(50_000):
        parts.append(part)
    return b"".join(parts)


def test_resumes_where_a_connection_broke(server):
    server.files["text"], server.cut = CONTENT, 70_000
    with HttpStream([server.url("text")]) as stream:
        assert read_all(stream) == CONTENT
    assert [start for _, start in server.requests] == [0, 70_000, 140_000, 210_000, 280_000]


def test_a_mirror_replaces_a_server(server):
    server.files["mirror"] = CONTENT
    with HttpStream([server.url("gone"), server.url("mirror")]) as stream:
        assert read_all(stream) == CONTENT


def test_gives_up_with_every_address_named(server):
    with pytest.raises(OSError, match=r"gone: HTTP Error 404.*; .*away: HTTP Error 404"):
        HttpStream([server.url("gone"), server.url("away")])
    server.files["stuck"], server.cut = CONTENT, 0
    with pytest.raises(OSError, match=r"connection closed at byte 0 of 300000"):
        HttpStream([server.url("stuck")]).read(10)


def test_notices_that_the_file_was_replaced(server):
    server.files["text"], server.cut = CONTENT, 70_000
    with HttpStream([server.url("text")]) as stream:
        stream.read(50_000)
        server.files["text"] = CONTENT[:-1]
        with pytest.raises(StreamChanged, match="299999 bytes now, but had 300000"):
            read_all(stream)


def test_refuses_a_server_that_cannot_resume(server):
    server.files["text"], server.cut, server.ranges = CONTENT, 70_000, False
    with HttpStream([server.url("text")]) as stream, pytest.raises(OSError, match="cannot resume at byte 70000"):
        read_all(stream)


@pytest.mark.parametrize("have", [0, 1000, len(CONTENT)])
def test_download_resumes_a_partial_file(server, tmp_path, have):
    server.files["text"] = CONTENT
    with closing(Beginning(tmp_path / "text.part")) as part:
        for start in range(0, have, 1000):
            part.append(CONTENT[start : min(start + 1000, have)])
    assert download([server.url("text")], tmp_path / "text") == ('"v1"' if have < len(CONTENT) else "")
    assert (tmp_path / "text").read_bytes() == CONTENT
    assert server.requests == [("text", have)]
