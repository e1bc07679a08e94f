"""A parquet corpus of the hub, streamed by ``datasets`` from a hub on loopback."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow
import pytest
from dataset_hub import COMMIT, DatasetHub
from pyarrow import parquet

from autocontrastive_gen.data import hub_streams
from autocontrastive_gen.data.assets import provide
from autocontrastive_gen.data.corpora import read
from autocontrastive_gen.data.streams import documents
from autocontrastive_gen.experiment.asset_schema import HubAsset
from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.foundation.files import read_json

ASSET = HubAsset(
    kind="hub",
    repo="someone/cc",
    repo_type="dataset",
    revision="main",
    files=["en/*.parquet"],
    stream=True,
    licence="none stated",
)


def lines(count: int, start: int = 0) -> list[str]:
    """Rows as in the hub's form of CC-100: one line each, an empty one between documents."""
    return ["\n" if i % 4 == 3 else f"line {i} of a text in paragraphs\n" for i in range(start, start + count)]


def shard(rows: list[str]) -> bytes:
    file = io.BytesIO()
    table = pyarrow.table({"id": [str(i) for i in range(len(rows))], "text": rows})
    parquet.write_table(table, file, row_group_size=2000, compression="none")
    return file.getvalue()


@pytest.fixture
def hub():
    """Two files, a document running from one into the other, and a third that no pattern matches."""
    hub = DatasetHub(
        "someone/cc",
        {"en/0.parquet": shard(lines(6001)), "en/1.parquet": shard(lines(5999, 6001)), "de/0.parquet": b"no parquet"},
    )
    yield hub
    hub.close()


def run(hub: DatasetHub, code: str, **options) -> subprocess.Popen:
    environment = os.environ | {"HF_ENDPOINT": hub.endpoint, "HF_HUB_OFFLINE": "0", "HF_HOME": str(Path.cwd() / "hf")}
    begin = "import sys\nfrom pathlib import Path\nfrom autocontrastive_gen.data import hub_streams, streams, assets\n"
    begin += "from autocontrastive_gen.foundation.files import read_json, write_json\n"
    begin += "hub_streams.ROWS_AT_ONCE = 1000\n"
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", begin + code], env=environment, stdout=pipe, text=True, **options)


FETCH = f"""
from autocontrastive_gen.experiment.asset_schema import HubAsset
record = assets.provide("cc", HubAsset.model_validate({ASSET.model_dump()!r}), Path("folder"))
write_json(Path("record.json"), record)
"""
READ = """
texts = list(streams.documents(read_json(Path("record.json")), "parquet-lines"))
write_json(Path(sys.argv[1] if len(sys.argv) > 1 else "texts.json"), texts)
"""


def parts() -> dict[Path, int]:
    """The parts that are kept, and when they were written."""
    return {path: path.stat().st_mtime_ns for path in Path(".scratch").rglob("[0-9]*.jsonl.gz.*")}


@pytest.mark.slow
def test_after_a_kill_it_continues_with_the_same_documents(hub, project):
    """The server withholds the second file until the reading process is dead."""
    held, answer = threading.Event(), hub.answer

    def hold(request):
        if request.path.endswith("en/1.parquet"):
            held.wait()
        answer(request)

    hub.answer = hold
    process = run(hub, FETCH + READ)
    until = time.monotonic() + 60
    while len(parts()) < 5 and time.monotonic() < until and process.poll() is None:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    before = parts()
    held.set()
    hub.answer = answer

    record = read_json(Path("record.json"))
    assert (record["revision"], sorted(record["shards"])) == (COMMIT, ["en/0.parquet", "en/1.parquet"])
    assert run(hub, READ).wait(60) == 0
    expected = "".join(lines(12000)).strip("\n").split("\n\n")
    assert read_json(Path("texts.json")) == expected
    assert 5 <= len(before) < len(parts()) == 13
    assert before.items() <= parts().items()

    hub.files.clear()  # all of it is here now, and local files read alike
    assert list(documents(record, "parquet-lines")) == expected
    Path("local/en").mkdir(parents=True)
    for name, rows in {"0": lines(6001), "1": lines(5999, 6001)}.items():
        Path(f"local/en/{name}.parquet").write_bytes(shard(rows))
    assert list(read(Path("local"), "parquet-lines", "*.parquet")) == expected


class Rows(list):
    """A stand-in for a data set; its state is the number of rows yielded."""

    at = 0

    def __iter__(self):
        for row in self[self.at :]:
            self.at += 1
            yield {"text": row}

    def state_dict(self):
        return {"at": self.at}

    def load_state_dict(self, state):
        self.at = state["at"]


RECORD = {"kind": "hub", "source": "hub dataset a/b", "repo": "a/b", "revision": "c", "shards": {"x.parquet": 1}}


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_damaged_part_is_dropped_and_read_anew(project, monkeypatch, caplog, number):
    texts = [f"text {i}" for i in range(5)]
    monkeypatch.setattr(hub_streams, "_dataset", lambda record, text_field: Rows(texts))
    monkeypatch.setattr(hub_streams, "ROWS_AT_ONCE", 2)
    assert list(documents(RECORD, "parquet")) == texts
    part = sorted(parts())[number]
    part.write_bytes(part.read_bytes()[:-9])
    assert list(documents(RECORD, "parquet")) == texts
    assert [record.getMessage() for record in caplog.records if "damaged" in record.getMessage()] == [
        f"{part}: damaged; this is dropped and made again"
    ]
    caplog.clear()
    assert list(documents(RECORD, "parquet")) == texts and not caplog.records


@pytest.mark.parametrize(("kind", "format"), [("hub", "txt"), ("url", "parquet")])
def test_a_format_that_cannot_be_streamed_is_refused(kind, format):
    with pytest.raises(ValueError, match=f"format: {format} of the streamed s; allowed: "):
        documents({"kind": kind, "source": "s"}, format)


def test_without_a_hub_fetch_says_what_is_missing(project):
    with pytest.raises(OSError, match=r"hub dataset someone/cc at revision main .*HF_ENDPOINT.*kind: path"):
        provide("cc", ASSET, project / "folder")


@pytest.mark.slow
def test_memory_does_not_grow_with_the_corpus(project):
    """Ten times the text raises the peak by less than a quarter of the additional text's size."""
    code = FETCH + (
        "import resource\n"
        'count = sum(1 for _ in streams.documents(read_json(Path("record.json")), "parquet"))\n'
        "print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)\n"
    )
    peaks = []
    for files in (1, 10):
        for path in Path().glob("record.json"):
            path.unlink()
        content = shard([f"{i} " + "word " * 100 for i in range(20_000)])
        hub = DatasetHub("someone/cc", {f"en/{files}-{i}.parquet": content for i in range(files)})
        answer = run(hub, code).communicate(timeout=200)[0].split()
        hub.close()
        assert int(answer[0]) == files * 20_000
        peaks.append(int(answer[1]))
    assert peaks[1] - peaks[0] < 9 * len(content) / 4, peaks


def test_a_position_belongs_to_one_revision(project, monkeypatch):
    """Another revision is another corpus."""
    for revision, text in (("c", "one"), ("d", "two")):
        monkeypatch.setattr(hub_streams, "_dataset", lambda record, text_field, text=text: Rows([text]))
        assert list(documents(RECORD | {"revision": revision}, "parquet")) == [text]


@pytest.mark.parametrize("value", [1, b"x", ["x"]])
def test_a_column_without_text_is_named(project, monkeypatch, value):
    monkeypatch.setattr(hub_streams, "_dataset", lambda record, text_field: Rows(["text", None, value]))
    with pytest.raises(InputError, match="hub dataset a/b: 'text' holds .* which is not text; set text_field"):
        list(documents(RECORD, "parquet"))
    assert not parts()
