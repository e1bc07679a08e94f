"""Several reports of one run at the same time, or too early: nothing is lost."""

import json
import shutil

import pytest

pytestmark = pytest.mark.slow

STAGE = ("python", "-m")


def ended(process) -> str:
    """What a process said, which must have succeeded."""
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0 and "Traceback" not in output, output
    return output


def test_two_reports_at_once(clone):
    before = clone.results()
    said = [ended(process) for process in [clone.start(*STAGE, "stages.report") for _ in range(3)]]
    assert any("another process renders the report of smoke: waiting until it ends" in output for output in said)
    assert clone.results() == before
    assert not [path for path in (clone.folder / "reports").rglob("*") if path.name.endswith(".tmp")]


def test_a_report_is_not_replaced_with_an_empty_one(clone):
    before = clone.results()
    shutil.rmtree(clone.folder / "runs")
    output = clone.run(*STAGE, "stages.report", code=2)
    assert "index.html: stays" in output and "dvc pull" in output and "Traceback" not in output
    assert clone.results() == before


def test_a_report_before_the_run_begins(clone):
    """`profile use` makes empty folders for DVC where files will be: no result is there, and they give way to files."""
    clone.run(*STAGE, "stages.profile", "use", "paper")
    assert (clone.folder / "reports/paper/metrics.json").is_dir()
    clone.run(*STAGE, "stages.report")
    assert json.loads((clone.folder / "reports/paper/metrics.json").read_text()) == {}
    assert (clone.folder / "reports/paper/index.html").is_file()
