"""A metric added as one file is published to MLflow and compared, with the direction that it declares."""

import pandas as pd
import pytest

from autocontrastive_gen.experiment.lock import read_lock
from autocontrastive_gen.foundation.files import read_json, write_csv, write_json
from autocontrastive_gen.review.compare import compare
from autocontrastive_gen.review.compare_view import page
from autocontrastive_gen.review.mlflow_view import shared_view
from autocontrastive_gen.review.records import headline, read_cells
from autocontrastive_gen.review.snapshots import Workspace
from autocontrastive_gen.review.sweep import rows


def add_scores(run, lift: float) -> None:
    """The column and the scores that the score stage would have written."""
    table = pd.read_csv(run.paths.per_prompt("tiny"))
    table["vowels"] = 0.3 + lift * table["setting"].str.endswith("acd") + table["coherence"] / 10
    write_csv(run.paths.per_prompt("tiny"), list(table.columns), table.to_dict("records"), digits=12)
    scores = read_json(run.paths.metrics("tiny"))
    for (setting, domain), part in table.groupby(["setting", "domain"]):
        value = float(part["vowels"].mean())
        scores[setting][domain]["vowels"] = {"value": value, "low": value, "high": value, "n": len(part)}
    write_json(run.paths.metrics("tiny"), scores)


@pytest.fixture
def scored(small_run, vowels):
    add_scores(small_run, lift=0.0)
    return small_run


def test_mlflow_gets_it_as_points_and_as_a_column(scored):
    cells = read_cells("smoke", scored.plan, read_lock())
    names = {point.name for cell in cells for point in cell.points if cell.entry.stage == "generate"}
    assert {"made-a/vowels", "made-a/vowels_low", "made-a/vowels_high"} <= names
    assert "metrics.`made-a/vowels`" in shared_view(cells)
    assert "tiny/greedy/made-a/vowels" in {point.name for point in headline(cells)}


def test_compare_pairs_it_and_says_which_is_better(scored):
    class Before(Workspace):
        """The scores before the change, kept in memory."""

        kept = {path: path.read_text() for path in (scored.paths.per_prompt("tiny"), scored.paths.metrics("tiny"))}

        def read(self, path):
            return self.kept.get(path) or super().read(path)

    before = Before("before")
    add_scores(scored, lift=0.25)
    difference = compare(before, Workspace("workspace"))
    found = {(row.setting, row.part, row.metric): row for row in difference.metrics}
    row = found["greedy-acd", "made-a", "vowels"]
    assert row.paired.difference.value == pytest.approx(0.25, abs=1e-5) and row.paired.difference.n == 8
    assert row.verdict == "worse", "fewer vowels are better, says the declaration"
    assert found["greedy", "made-a", "vowels"].verdict == ""
    assert "<td>vowels</td>" in page(difference) and "<td>worse</td>" in page(difference)


def test_a_sweep_draws_it_with_the_other_headline_metrics(scored):
    metrics = {row["metric"] for row in rows([Workspace("workspace")], ["train.learning_rate"], ["greedy"], [])}
    assert metrics == {"diversity", "coherence", "mauve", "vowels"}
