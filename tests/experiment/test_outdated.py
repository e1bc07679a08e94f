"""Which cells read from which; tests/pipeline/test_story.py compares the outdated ones with what DVC runs."""

import hashlib
import json
from pathlib import Path

import pytest

from autocontrastive_gen.experiment.lock import Entry
from autocontrastive_gen.experiment.outdated import cells_of, dvc_name, md5, moved, reads
from autocontrastive_gen.experiment.params import load_profile
from autocontrastive_gen.experiment.plan import build


def test_cells_are_those_of_the_plan_in_order(root, monkeypatch):
    monkeypatch.chdir(root)
    names = [dvc_name(cell) for cell in cells_of(build(load_profile("smoke")))]
    assert names == [
        "fetch",
        "prepare",
        "train@tiny",
        "select@tiny",
        "generate@tiny-greedy",
        "generate@tiny-greedy-acd",
        "score@tiny",
        "benchmark@tiny-original",
        "benchmark@tiny-acd",
        "analyse@tiny",
        "report",
        "track",
    ]


@pytest.mark.parametrize(
    ("cell", "other", "wanted"),
    [
        (("train", "a"), ("prepare",), True),
        (("select", "a"), ("train", "a"), True),
        (("select", "a"), ("train", "b"), False),
        (("generate", "a", "greedy"), ("train", "a"), True),
        (("generate", "a", "greedy"), ("generate", "a", "beam"), False),
        (("benchmark", "a", "original"), ("generate", "a", "greedy"), False),
        (("score", "a"), ("generate", "a", "greedy"), True),
        (("report",), ("benchmark", "b", "acd"), True),
        (("prepare",), ("report",), False),
    ],
)
def test_what_a_cell_reads_from(cell, other, wanted):
    assert reads(cell, other) is wanted


def test_digests_are_those_of_dvc(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b/__pycache__").mkdir()
    (tmp_path / "b/__pycache__/x.pyc").write_text("ignored")
    (tmp_path / "b/y.py").write_text("y")
    (tmp_path / "a.py").write_text("a")
    digest = {name: hashlib.md5(name.encode()).hexdigest() for name in "ay"}
    listing = [{"md5": digest["a"], "relpath": "a.py"}, {"md5": digest["y"], "relpath": "b/y.py"}]
    assert md5(tmp_path) == hashlib.md5(json.dumps(listing).encode()).hexdigest() + ".dir"
    assert md5(tmp_path / "a.py") == digest["a"] and md5(tmp_path / "absent") == ""


def test_stages_whose_code_has_moved_are_named_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.py", "b.py"):
        Path(name).write_text(name)

    def entry(name: str, *files: str) -> Entry:
        return Entry(name, "", {**{file: md5(Path(file)) for file in files}, "runs/x/prepare": "other"}, {}, {})

    made = [entry("score@m", "a.py"), entry("generate@m-x", "a.py", "b.py"), entry("generate@m-y"), entry("train@m")]
    lock = {each.name: each for each in made}
    assert moved(lock) == []
    Path("a.py").write_text("edited")
    md5.cache_clear()
    assert moved(lock) == ["generate", "score"]
