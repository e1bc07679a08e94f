"""The log of a run reads like a story, and says how far the whole is."""

import os
import re
import subprocess
import sys

import pytest

from tests.pipeline.conftest import Clone

TOLD = (r"^(?P<cell>[a-z]+( tiny)?( [a-z-]+)?): (?P<what>.+), in [\d.]+ (s|min \d+ s) "
        r"\((?P<at>\d+) of (?P<all>\d+)(, about .+ left)?\)$")  # fmt: skip
CHATTER = (
    "MISSING",
    "untrained",
    "Setting random seed",
    "Overwriting",
    "it/s",
    "Loading",
    "Warning",
    "\r",
    "mlflow.store",
)
OUTDATED = """
from autocontrastive_gen.experiment.lock import read_lock
from autocontrastive_gen.experiment.outdated import dvc_name, outdated
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.experiment.plan_file import read_plan
print(*map(dvc_name, outdated(read_plan("smoke"), Paths("smoke"), read_lock())))
"""


def outdated(clone) -> set[str]:
    return set(clone.run(sys.executable, "-c", OUTDATED).split())


def test_a_run_says_what_there_is_to_do_and_how_far_it_is(finished):
    log = finished[0].log
    assert re.search(r"^to do: 12 cells, about \d+ .*: fetch, prepare, train, select, 2 × generate, score", log, re.M)
    lines = [match for line in log.splitlines() if (match := re.match(TOLD, line))]
    assert [int(line["at"]) for line in lines] == list(range(1, 13)) and {line["all"] for line in lines} == {"12"}
    came_out = {line["cell"]: line["what"] for line in lines}
    assert "6 texts, contrast changed" in came_out["generate tiny greedy-acd"]
    assert re.search(r"last-word acc \d\.\d\d", came_out["benchmark tiny acd"])
    assert re.search(r"tiny, greedy → greedy-acd: diversity .* → .*, coherence", came_out["report"])


def test_chatter_of_libraries_is_in_log_files(finished):
    clone, _ = finished
    assert not [text for text in CHATTER if text in clone.log]
    assert "MISSING" in (clone.folder / ".scratch/logs/train-tiny.log").read_text()
    assert "Setting random seed" in (clone.folder / ".scratch/logs/benchmark-tiny-acd.log").read_text()


def test_no_cell_of_a_finished_run_is_outdated(finished):
    assert outdated(finished[0]) == set()


def test_outdated_cells_are_at_least_those_that_dvc_finds_changed(clone):
    path = clone.folder / "src/autocontrastive_gen/evaluation/encoders.py"
    path.write_text(path.read_text() + "\n# an edit\n")
    expected = outdated(clone)
    assert {"select@tiny", "score@tiny"} <= clone.changed() <= expected
    assert "train@tiny" not in expected and "prepare" not in expected


@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_run_that_skips_cells_ends_with_all_of_them(clone):
    clone = Clone(clone.folder)
    clone.edit("method: acd, alpha: 0.1", "method: acd, alpha: 0.5")
    clone.run(sys.executable, "-m", "stages.profile", "check")
    expected = outdated(clone)
    ran = set(clone.repro()) - {"fetch"}
    assert ran and ran < expected, "plain settings turn out to be the same as before"
    last = [match for line in clone.log.splitlines() if (match := re.match(TOLD, line))][-1]
    assert last["cell"] == "track" and last["at"] == last["all"]


def test_results_are_told_at_the_end(finished, fresh):
    shown = finished[0].run(sys.executable, "-m", "stages.results")
    assert "tiny, greedy → greedy-acd: diversity" in shown and "speed" in shown
    page = re.search(r"file://(\S+)", shown)[1]
    assert os.path.exists(page) and "To try next" in shown
    done = subprocess.run(
        [sys.executable, "-m", "stages.results"],
        cwd=fresh.folder,
        env=fresh.environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and "`dvc repro` makes it" in done.stderr
