import json
import subprocess
import sys

import pytest

from autocontrastive_gen.experiment.params import load_profile
from autocontrastive_gen.experiment.rendering import render
from stages.profile import keep_edits


@pytest.fixture
def profile(project, root):
    def call(*arguments):
        command = [sys.executable, "-m", "stages.profile", *arguments]
        return subprocess.run(command, cwd=project, env=_env(root), capture_output=True, text=True)

    return call


def _env(root):
    import os

    return {**os.environ, "PYTHONPATH": f"{root}:{root / 'src'}"}


def test_use_writes_the_profile_and_its_plan_and_keeps_edits(profile, project, root):
    edited = (project / "params.yaml").read_text().replace("top_k: 10", "top_k: 11")
    (project / "params.yaml").write_text(edited)
    assert "edited (2 lines" in profile("show").stdout
    assert "top_k: 11}" in profile("diff", "smoke").stdout
    assert profile("use", "laptop").returncode == 0
    assert (project / "params.yaml").read_text() == render(load_profile("laptop"))
    assert json.loads((project / "reports/laptop/plan.json").read_text())["track"]["models"] == ["smollm2"]
    (kept,) = project.glob("params.edited-*.yaml")
    assert kept.read_text() == edited


def test_every_edit_is_kept(project, smoke_params):
    """Each under a name of its own, which no target of the Makefile removes."""
    edits = [smoke_params.replace("top_k: 10", f"top_k: {k}") for k in (11, 12)]
    for edit in edits:
        (project / "params.yaml").write_text(edit)
        keep_edits()
    kept = {path.read_text() for path in project.glob("params.edited-*.yaml")}
    assert kept == set(edits)
    (project / "params.yaml").write_text(smoke_params)
    keep_edits()
    assert len(list(project.glob("params.edited-*.yaml"))) == 2


def test_an_unknown_profile_is_refused_with_the_nearest(profile):
    done = profile("use", "lptop")
    assert done.returncode == 2 and "did you mean laptop?" in done.stderr and "Traceback" not in done.stderr


def test_check_reports_every_fault(profile, project):
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace("top_k: 10", "top_k: 0").replace("seed:", "sede:"))
    done = profile("check")
    assert done.returncode == 2 and "decoders.top-k.top_k: 0" in done.stderr and "did you mean seed?" in done.stderr
    assert not (project / "reports").exists()
