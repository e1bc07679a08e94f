"""How much training an exit needs: which cells there are, and what the command measures, keeps and draws."""

import csv

import pytest

from autocontrastive_gen.pipeline.exit_training import cells_of
from stages.exit_training import default_budgets
from tests.pipeline.conftest import copy_project


def test_untrained_exits_have_one_cell():
    assert list(cells_of(["direct", "cast"], [10, 20])) == [("direct", 0), ("cast", 10), ("cast", 20)]


@pytest.mark.parametrize("tokens", [1600, 80_000, 3_000_000])
def test_default_budgets_rise_evenly_to_all_tokens(tokens):
    budgets = default_budgets(tokens)
    assert budgets[0] == (20_000 if tokens > 20_000 else tokens // 16) and budgets[-1] == tokens and len(budgets) == 5
    ratios = [after / before for before, after in zip(budgets, budgets[1:], strict=False)]
    assert max(ratios) == pytest.approx(min(ratios), rel=0.01)


@pytest.mark.slow
def test_every_cell_is_measured_once(root, tmp_path):
    clone = copy_project(root, tmp_path / "clone")
    clone.run("python", "-m", "stages.profile", "use", "smoke")
    clone.repro("prepare")
    command = (
        "python -m stages.exit_training tiny --prompts 2 --items 4 --budgets 1000 1500 --modes direct cast".split()
    )
    clone.run(*command)
    folder = clone.folder / "reports/smoke/training"
    rows = list(csv.DictReader((folder / "exit-training.csv").open()))
    assert [row["mode"] for row in rows] == ["no contrast", "direct (untrained)", "cast", "cast"]
    assert all(float(row[key]) >= 0 for row in rows for key in ("diversity", "coherence", "acc"))
    perplexities = [float(row["exit_perplexity"]) for row in rows[1:]]
    assert perplexities == sorted(perplexities, reverse=True), "training helps"
    assert (folder / "exit-training.svg").exists() and (folder / "exit-training.png").exists()
    files = {path: path.stat().st_mtime_ns for path in (clone.folder / "runs/smoke/exit-training/tiny").iterdir()}
    assert len(files) == 4
    again = (folder / "exit-training.csv").read_bytes()
    clone.run(*command)
    assert {path: path.stat().st_mtime_ns for path in files} == files, "no cell is measured again"
    assert (folder / "exit-training.csv").read_bytes() == again
    one = next(path for path in files if path.name.startswith("cast-1000"))
    one.unlink()
    clone.run(*command)
    assert {path for path in files if path.stat().st_mtime_ns != files[path]} == {one}
    assert (folder / "exit-training.csv").read_bytes() == again, "a cell gives the same bytes when it is run alone"
    assert "none of direct, cast, head" in clone.run(*command[:4], "--modes", "frozen", code=2)
