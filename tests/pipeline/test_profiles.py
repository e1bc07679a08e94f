"""Every profile is a complete run that DVC can list before any of its files exist."""

import sys

import pytest

from autocontrastive_gen.experiment.params import load_params
from autocontrastive_gen.experiment.paths import STAGES


@pytest.mark.slow
def test_a_dry_run_lists_every_cell_of_a_profile_that_has_not_begun(root, fresh):
    for name in ("smoke", "paper", "paper-released"):
        fresh.run(sys.executable, "-m", "stages.profile", "use", name)
        run = load_params(root / f"conf/profiles/{name}.yaml").run
        cells = len(run.models) * (3 + len(run.settings) + len(run.benchmark_settings))
        assert len(fresh.repro("--dry")) == cells + len(STAGES) - 5, name
    assert not [path for path in (fresh.folder / "runs").rglob("*") if path.is_file()]


@pytest.mark.slow
def test_a_profile_with_committed_results_is_listed_by_force(fresh):
    fresh.run(sys.executable, "-m", "stages.profile", "use", "laptop")
    assert not (fresh.folder / "runs/laptop/fetch").exists(), "what can be pulled must not look changed"
    assert "train@smollm2" in fresh.repro("--dry", "--force")
