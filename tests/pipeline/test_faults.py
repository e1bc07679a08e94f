"""Bad input and broken surroundings: one clear message, exit code 2, no traceback, and nothing finished is lost."""

import shutil
import sys

import pytest

pytestmark = pytest.mark.slow

STAGE = (sys.executable, "-m")


def refused(clone, *command: str) -> str:
    """What a command says that must refuse its input."""
    output = clone.run(*STAGE, *command, code=2)
    assert "Traceback" not in output
    return output


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("seed: 2023", "sede: 2023", "sede: unknown key (value 2023); did you mean seed?"),
        ("[greedy, greedy-acd]", "[greedy, greedy-acd3]", "asks for exit 3, but models.tiny.exits has [2, 4]"),
        ("[greedy, greedy-acd]", "[greedy, gredy-acd]", "'gredy-acd' is no setting"),
        ("settings: [greedy, greedy-acd]", "settings: []", "run.settings: [] is not allowed"),
        ("method: distillation", "method: distilation", "did you mean distillation?"),
        ("exits: [2, 4]", "exits: [2, 40]", "layers 1 to 6"),
    ],
)
def test_wrong_parameters_stop_before_anything_runs(clone, old, new, told):
    before = clone.results()
    clone.edit(old, new) if old != "[greedy, greedy-acd]" else clone.edit(f"  settings: {old}", f"  settings: {new}")
    stage = ("stages.train", "--model", "tiny") if "exits" in old else ("stages.fetch",)
    if "exits" in old:
        clone.run(*STAGE, "stages.fetch")
    assert told in refused(clone, *stage)
    assert clone.results() == before


def test_dvc_stops_at_the_fault_and_goes_on_once_it_is_mended(clone):
    before = clone.results()
    clone.edit("top_k: 10", "top_k: 0")
    output = clone.run("dvc", "repro", code=None)
    assert "generate.top_k: 0 is not allowed" in output and "Traceback" not in output
    clone.edit("top_k: 0", "top_k: 10")
    clone.repro()
    assert clone.results() == before and clone.repro() == []


def test_an_asset_that_is_another_than_pinned(clone):
    clone.edit(
        "path: tests/fixtures/smoke/text/made-a.txt",
        f"path: tests/fixtures/smoke/text/made-a.txt\n    sha256: '{'0' * 64}'",
    )
    output = refused(clone, "stages.fetch")
    assert "made-a" in output and "0" * 64 in output


def test_an_asset_of_the_hub_that_is_not_there(clone):
    clone.environment["HF_HUB_OFFLINE"] = "1"
    clone.edit(
        "kind: path\n    path: tests/fixtures/smoke/model",
        "kind: hub\n    repo: nobody/nothing\n    revision: main",
    )
    output = refused(clone, "stages.fetch")
    assert "tiny" in output and "nobody/nothing" in output and "path" in output


def test_a_damaged_output_is_made_again(clone):
    before = clone.results()
    (clone.folder / "runs/smoke/fetch/tiny/model.safetensors").write_bytes(b"cut short")
    clone.repro()
    assert clone.results() == before


def test_a_file_where_a_folder_should_be(clone):
    shutil.rmtree(clone.folder / "runs/smoke/score")
    (clone.folder / "runs/smoke/score").write_text("in the way")
    assert "runs/smoke/score" in refused(clone, "stages.score", "--model", "tiny")


def test_an_unknown_cell(clone):
    assert "there are: tiny" in refused(clone, "stages.train", "--model", "tony")
    assert "greedy-acd" in refused(clone, "stages.generate", "--model", "tiny", "--setting", "greedy-exit2")


def test_a_full_disk(clone):
    for stage in ("stages.prepare", "stages.score --model tiny"):
        output = clone.run("bash", "-c", f"ulimit -f 1; exec {sys.executable} -m {stage}", code=2)
        assert "Traceback" not in output
    clone.repro()
    assert clone.repro() == []


def test_two_repros_at_once(clone):
    clone.edit("new_tokens: 8\n  batch_size", "new_tokens: 9\n  batch_size")
    first = clone.start("dvc", "repro")
    for line in first.stdout:
        if "Running stage 'generate@tiny-greedy'" in line:
            break
    second = clone.run("dvc", "repro", code=None)
    assert "lock" in second or "Running stage" not in second
    first.communicate(timeout=600)
    assert first.returncode == 0
    assert clone.repro() == []
