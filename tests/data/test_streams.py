"""A corpus that is read over the network only as far as needed."""

import lzma
import os
import random
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from autocontrastive_gen.data.streams import documents
from autocontrastive_gen.foundation.files import write_json


def corpus(count: int = 3000) -> list[str]:
    rng = random.Random(1)
    return [
        "\n".join(f"{rng.randbytes(150).hex()} paragraph {j} of {i}" for j in range(1 + i % 3)) for i in range(count)
    ]


@pytest.fixture
def record(server, project):
    server.files["en.txt.xz"] = lzma.compress("\n\n".join(corpus()).encode(), preset=0)
    size = len(server.files["en.txt.xz"])
    return {"kind": "url", "source": server.url("en.txt.xz"), "mirrors": [], "revision": '"v1"', "bytes": size}


def test_broken_connections_change_neither_documents_nor_order(server, record):
    server.cut = 200_000
    assert list(documents(record)) == corpus()
    assert len(server.requests) > 3


def test_reads_no_more_than_it_needs_and_never_twice(server, record):
    assert list(islice(documents(record), 100)) == corpus()[:100]
    kept = next(Path(".scratch/streams").rglob("beginning"))
    beginning = kept.stat().st_size
    assert 0 < beginning < record["bytes"]
    assert list(documents(record)) == corpus()
    assert server.requests == [("en.txt.xz", 0), ("en.txt.xz", beginning)]
    server.files.clear()  # all of it is here now
    assert list(documents(record)) == corpus()


def test_resumes_after_sigkill(server, record, project):
    write_json(project / "record.json", record)
    code = (
        "import time; from autocontrastive_gen.data.streams import documents;"
        "from autocontrastive_gen.foundation.files import read_json\n"
        "for i, text in enumerate(documents(read_json('record.json'))):\n"
        "    if i == 1500: print('half', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "half\n"
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    before = next(Path(".scratch/streams").rglob("beginning")).stat().st_size
    assert 0 < before < record["bytes"]
    assert list(documents(record)) == corpus()
    assert server.requests[1:] == [("en.txt.xz", before)]


def test_memory_stays_flat(server, project):
    """The text is many times larger than the memory that reading it may add."""
    lines = "\n\n".join(f"a document of a few words that repeat, number {i}" for i in range(600_000)).encode()
    server.files["en.txt.xz"] = lzma.compress(lines, preset=0)
    record = {
        "kind": "url",
        "source": server.url("en.txt.xz"),
        "mirrors": [],
        "revision": "",
        "bytes": len(server.files["en.txt.xz"]),
    }
    write_json(project / "record.json", record)
    code = (
        "import resource; from autocontrastive_gen.data.streams import documents;"
        "from autocontrastive_gen.foundation.files import read_json\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "flow = documents(read_json('record.json')); next(flow); before = peak(); count = sum(1 for _ in flow)\n"
        "print(count, peak() - before)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert int(answer[0]) == 599_999
    assert int(answer[1]) * 1024 < len(lines) / 4


def test_a_replaced_file_is_refused(server, record):
    list(islice(documents(record), 10))
    server.files["en.txt.xz"] += b"more"
    with pytest.raises(OSError, match="bytes now, but had"):
        list(documents(record))


def test_damaged_bytes_are_named_and_discarded(server, record):
    content = bytearray(server.files["en.txt.xz"])
    content[len(content) // 2] ^= 0xFF
    good, server.files["en.txt.xz"] = server.files["en.txt.xz"], bytes(content)
    with pytest.raises(OSError, match="damaged .*; what was kept of them is now discarded"):
        list(documents(record))
    server.files["en.txt.xz"] = good
    assert list(documents(record)) == corpus()
