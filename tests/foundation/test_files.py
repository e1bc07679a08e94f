import codecs
import csv
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocontrastive_gen.foundation import digests, files
from autocontrastive_gen.foundation.cost import cost_meter
from autocontrastive_gen.foundation.errors import InputError


def test_a_seed_depends_on_its_parts_only():
    assert digests.seed_for(1, "wikipedia-0003", 5) == digests.seed_for(1, "wikipedia-0003", 5)
    assert digests.seed_for(1, "a", "bc") != digests.seed_for(1, "ab", "c")


@given(st.lists(st.one_of(st.integers(), st.text()), max_size=4))
def test_seed_fits_a_torch_generator(parts):
    assert 0 <= digests.seed_for(*parts) < 2**63


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"b": 1, "a": 0.1234567})
    before = path.read_bytes()
    with pytest.raises(ValueError):
        files.write_json(path, {"a": float("nan")})
    with pytest.raises(RuntimeError), files.atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    assert before == b'{\n "a": 0.123457,\n "b": 1\n}\n'


def test_an_empty_folder_gives_way_to_the_file_and_a_full_one_does_not(tmp_path):
    """`profile use` makes empty folders where DVC wants to see outputs."""
    (tmp_path / "a.json").mkdir()
    files.write_json(tmp_path / "a.json", 1)
    assert files.read_json(tmp_path / "a.json") == 1
    (tmp_path / "b.json" / "kept").mkdir(parents=True)
    with pytest.raises(OSError):
        files.write_json(tmp_path / "b.json", 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "b.json"]


def test_marks_and_line_ends_of_other_systems_are_no_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(codecs.BOM_UTF8 + b"one\r\ntwo\n")
    assert files.read_text(tmp_path / "a.txt") == "one\ntwo\n"


@pytest.mark.parametrize("content", [b"{", b"[" * 100_000, b"9" * 5000, b"\xff", "{}".encode("utf-16")])
def test_json_that_cannot_be_read_is_named(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match="a.json: "):
        files.read_json(tmp_path / "a.json")


def test_infinity_is_written_as_a_string_that_every_reader_reads_as_the_number(tmp_path):
    value = {"perplexity": math.inf, "nested": [{"low": -math.inf}, "inf", 1.5]}
    files.write_json(tmp_path / "a.json", value)
    assert json.loads((tmp_path / "a.json").read_text()) == {
        "perplexity": "Infinity",
        "nested": [{"low": "-Infinity"}, "inf", 1.5],
    }
    assert files.read_json(tmp_path / "a.json") == value
    assert float("Infinity") == math.inf


def test_a_fingerprint_does_not_depend_on_the_order_of_keys():
    assert digests.fingerprint({"a": 1, "b": [2]}) == digests.fingerprint({"b": [2], "a": 1})
    assert digests.fingerprint({"a": 1}) != digests.fingerprint({"a": 2})


def test_csv_is_read_back(tmp_path):
    files.write_csv(tmp_path / "t.csv", ["a", "b"], [{"a": 1.23456789, "b": None}, {"a": "x, y"}])
    assert (tmp_path / "t.csv").read_text() == 'a,b\n1.23457,\n"x, y",\n'


@given(texts=st.lists(st.text(st.sampled_from('a\r\n,"; ')), min_size=1))
def test_any_text_of_csv_is_read_back(tmp_path_factory, texts):
    path = tmp_path_factory.getbasetemp() / "t.csv"
    files.write_csv(path, ["id", "text"], ({"id": "x", "text": text} for text in texts))
    with open(path, encoding="utf-8", newline="") as file:
        assert [row["text"] for row in csv.DictReader(file)] == texts


def test_cost_names_time_memory_and_device(tmp_path):
    with cost_meter(tmp_path / "cost.json") as cost:
        cost["tokens"] = 3
    measured = json.loads((tmp_path / "cost.json").read_text())
    assert measured["tokens"] == 3 and measured["wall_s"] >= 0 and measured["peak_rss_bytes"] > 1e6
    assert measured["device"]
