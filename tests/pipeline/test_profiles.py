"""Every profile is a complete run that DVC can list before any of its files exist."""

import math
import shutil

import pytest
import yaml

from autocontrastive_gen.experiment.params import load_params


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("smoke", marks=pytest.mark.exhaustive),
        "study",
        "paper",
        pytest.param("paper-released", marks=pytest.mark.exhaustive),
    ],
)
def test_a_dry_run_lists_every_cell_of_a_profile_that_has_not_begun(root, fresh, name):
    stages = yaml.safe_load((root / "dvc.yaml").read_text())["stages"].values()
    fresh.run("python", "-m", "stages.profile", "use", name)
    run = load_params(root / f"conf/profiles/{name}.yaml").run
    axes = [stage.get("matrix", {}).values() for stage in stages]  # such as "${run.models}"
    cells = [math.prod(len(getattr(run, axis[len("${run.") : -1])) for axis in of_stage) for of_stage in axes]
    assert len(fresh.repro("--dry")) == sum(cells)
    assert not [path for path in (fresh.folder / "runs").rglob("*") if path.is_file()]


@pytest.mark.slow
def test_a_profile_with_committed_results_is_listed_by_force(root, fresh):
    shutil.copy(root / "dvc.lock", fresh.folder)
    fresh.run("python", "-m", "stages.profile", "use", "laptop")
    assert not (fresh.folder / "runs/laptop/fetch").exists(), "what can be pulled must not look changed"
    assert "train@smollm2" in fresh.repro("--dry", "--force")
