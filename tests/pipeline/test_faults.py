"""Bad input and broken surroundings: one clear message, exit code 2, no traceback, and nothing finished is lost."""

import os
import shutil
import signal
import sys

import pytest

from tests.pipeline.conftest import Clone

pytestmark = pytest.mark.slow

STAGE = ("python", "-m")
COMMANDS = {
    "fetch": "stages.fetch",
    "prepare": "stages.prepare",
    "train": "stages.train --model tiny",
    "select": "stages.select --model tiny",
    "generate": "stages.generate --model tiny --setting greedy-acd",
    "score": "stages.score --model tiny",
    "benchmark": "stages.benchmark --model tiny --setting acd",
    "report": "stages.report",
    "track": "stages.track",
}
"""Each stage on a cell of the smoke profile."""


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
        ("[greedy, greedy-acd]", "[greedy, gredy-acd]", "'gredy-acd' is not a setting"),
        ("settings: [greedy, greedy-acd]", "settings: []", "run.settings: [] is not allowed"),
        ("method: distillation", "method: distilation", "did you mean distillation?"),
        ("exits: [2, 4]", "exits: [2, 40]", "layers 1 to 6"),
        ("tasks: [last-word]", "tasks: [last-wrd]", "run.tasks: 'last-wrd' is not allowed"),
        ("num_fewshot: 0", "num_fewshot: 4", "benchmark.num_fewshot: 4 is not allowed"),
        ("coherence_asset: encoder", "coherence_asset: tiny", "score.coherence_asset: 'tiny' is not allowed"),
        ("prompt_words: 8", "prompt_words: 249", "prepare.prompt_words: 249 is not allowed"),
        ("seed: 2023", f"seed: {'9' * 5000}", "params.yaml: not valid YAML"),
        ("seed: 2023", f"seed: {'[' * 5000}", "params.yaml: not valid YAML: it is nested too deeply"),
    ],
)
def test_wrong_parameters_stop_before_anything_runs(clone, old, new, told):
    before = clone.results()
    clone.edit(old, new) if old != "[greedy, greedy-acd]" else clone.edit(f"  settings: {old}", f"  settings: {new}")
    assert told in refused(clone, "stages.fetch")
    assert clone.results() == before


def test_dvc_stops_at_the_fault_and_continues_once_it_is_corrected(clone):
    before = clone.results()
    clone.edit("top_k: 10", "top_k: 0")
    output = clone.run("dvc", "repro", code=None)
    assert "decoders.top-k.top_k: 0 is not allowed" in output and "Traceback" not in output
    clone.edit("top_k: 0", "top_k: 10")
    clone.repro()
    assert clone.results() == before and clone.repro() == []


def test_an_asset_that_is_not_the_pinned_one(clone):
    clone.edit(
        "path: tests/fixtures/smoke/text/made-a.txt",
        f"path: tests/fixtures/smoke/text/made-a.txt\n    sha256: '{'0' * 64}'",
    )
    output = refused(clone, "stages.fetch")
    assert "made-a" in output and "0" * 64 in output


def test_an_asset_of_the_hub_that_does_not_exist(clone):
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


def test_a_report_is_not_replaced_with_an_empty_one(clone):
    before = clone.results()
    shutil.rmtree(clone.folder / "runs")
    output = refused(clone, "stages.report")
    assert "index.html: stays" in output and "dvc pull" in output
    assert clone.results() == before


def test_an_unknown_cell(clone):
    assert "there are: tiny" in refused(clone, "stages.train", "--model", "tony")
    assert "greedy-acd" in refused(clone, "stages.generate", "--model", "tiny", "--setting", "greedy-exit2")


def kept(clone, except_stage: str) -> dict[str, bytes]:
    """What the other stages have finished."""
    runs = clone.folder / "runs/smoke"
    files = (path for path in sorted(runs.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(runs)): path.read_bytes()
        for path in files
        if except_stage not in path.relative_to(runs).parts[0]
        and not path.relative_to(runs).match(f"cost/{except_stage}*")
    }


def put_back(clone, finished) -> None:
    """The finished run once more, so that the next stage has its inputs."""
    shutil.rmtree(clone.folder / "runs")
    shutil.copytree(finished[0].folder / "runs", clone.folder / "runs", symlinks=True)


def test_a_full_disk_in_every_stage(clone, finished):
    """A clear message and no traceback; what other stages have finished stays, and the same run goes on once mended."""
    before = clone.results()
    for stage, command in COMMANDS.items():
        if stage == "select":
            continue  # each of its files is smaller than the smallest limit
        put_back(clone, finished)
        others = kept(clone, stage)
        if stage == "track":
            (clone.folder / "mlflow.db").unlink()
        limited = f"ulimit -f 1; exec {sys.executable} -m {command}"
        # an MLflow store that can't be written is a store that is down: 1, so that DVC tries again
        output = clone.run("bash", "-c", limited, code=1 if stage == "track" else 2)
        assert "Traceback" not in output, f"{stage}: {output}"
        assert kept(clone, stage) == others, stage
    clone.repro()
    assert clone.results() == before and clone.repro() == []


def test_a_file_where_the_folder_of_a_stage_should_be(clone):
    before = clone.results()
    for stage, command in COMMANDS.items():
        place = clone.folder / ("reports/smoke/tables" if stage == "report" else f"runs/smoke/{stage}")
        aside = place.with_name("aside")
        place.rename(aside)
        place.write_text("in the way")
        assert place.name in refused(clone, *command.split()), stage
        place.unlink()
        aside.rename(place)
    clone.repro()
    assert clone.results() == before


STOPPED = """
import os, runpy, sys
replace, signal = os.replace, int(sys.argv[1])
def stop(*names, **options):
    os.kill(os.getpid(), signal)
    return replace(*names, **options)
os.replace = stop
sys.argv = sys.argv[2:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("kind", [pytest.param(signal.SIGINT, marks=pytest.mark.exhaustive), signal.SIGKILL])
def test_every_stage_may_be_stopped_as_it_writes(clone, finished, kind):
    """Stopped at the moment that its first file is whole and not yet in place: nothing finished is lost."""
    before = clone.results()
    for stage, command in COMMANDS.items():
        put_back(clone, finished)
        others = kept(clone, stage)
        module, *cell = command.split()
        code = 130 if kind == signal.SIGINT else -signal.SIGKILL
        output = clone.run(sys.executable, "-c", STOPPED, str(int(kind)), module, *cell, code=code)
        assert "Traceback" not in output and ("stopped" in output or kind == signal.SIGKILL), f"{stage}: {output}"
        assert kept(clone, stage) == others, stage
        if kind == signal.SIGKILL:  # a stage cleans up after Ctrl-C; what a kill leaves must not trouble the next one
            clone.run(*STAGE, *command.split())
            assert kept(clone, "cost") == kept(finished[0], "cost"), stage
    put_back(clone, finished)
    clone.repro()
    assert clone.results() == before and clone.repro() == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("path: tests/fixtures/smoke/model", "path: tests/fixtures/smoke/nowhere", "nowhere does not exist"),
        ("path: tests/fixtures/smoke/model", "path: tests/fixtures/smoke/encoder", "the model has layers 1 to 2"),
        ("path: tests/fixtures/smoke/model", "path: harmed", "of weights is damaged"),
    ],
    ids=["missing", "swapped", "truncated"],
)
def test_a_model_that_is_missing_swapped_or_truncated(clone, old, new, told):
    shutil.copytree(clone.folder / "tests/fixtures/smoke/model", clone.folder / "harmed")
    os.truncate(clone.folder / "harmed/model.safetensors", 1000)
    clone.edit(old, new)
    output = clone.run(*STAGE, "stages.fetch", code=None)
    if "missing" not in output and "does not exist" not in output:
        output = refused(clone, "stages.train", "--model", "tiny")
    assert told in output and "Traceback" not in output


@pytest.mark.exhaustive
def test_two_repros_at_once(clone):
    clone.edit("generate:\n  # Tokens per continuation.\n  new_tokens: 8", "generate:\n  new_tokens: 9")
    first = Clone(clone.folder).start("dvc", "repro")
    for line in first.stdout:
        if "Running stage 'generate@tiny-greedy'" in line:
            break
    second = clone.run("dvc", "repro", code=None)
    assert "lock" in second or "Running stage" not in second
    first.communicate(timeout=600)
    assert first.returncode == 0
    assert clone.repro() == []
