"""What the stage analyse measures and keeps, and where the report shows it."""

import csv
import json

import pytest

from autocontrastive_gen.pipeline.exit_training import budgets_of, cells_of


def test_untrained_exits_have_one_cell():
    assert list(cells_of(["direct", "cast"], [10, 20])) == [("direct", 0), ("cast", 10), ("cast", 20)]


@pytest.mark.parametrize("tokens", [1600, 80_000, 3_000_000])
def test_budgets_rise_evenly_to_all_tokens(tokens):
    budgets = budgets_of(tokens, 5)
    assert budgets[0] == (20_000 if tokens > 20_000 else tokens // 16) and budgets[-1] == tokens and len(budgets) == 5
    ratios = [after / before for before, after in zip(budgets, budgets[1:], strict=False)]
    assert max(ratios) == pytest.approx(min(ratios), rel=0.01)
    assert budgets_of(tokens, 1) == [tokens] and budgets_of(tokens, 5, batch=800)[0] == max(800, budgets[0])


@pytest.mark.slow
def test_the_stage_measures_what_is_asked_for_and_the_page_shows_it(fresh):
    fresh.edit("training_budgets: 0", "training_budgets: 1")
    fresh.edit("answers: []", "answers: [last-word]")
    fresh.repro("report")
    kept = fresh.folder / "runs/smoke/analyse/tiny"
    rows = json.loads((kept / "exit-training.json").read_text())["rows"]
    assert [row["mode"] for row in rows] == ["plain", "direct", "cast", "head"]
    assert all(row[key] >= 0 for row in rows for key in ("diversity", "coherence", "acc"))
    assert rows[2]["exit_perplexity"] < rows[1]["exit_perplexity"], "training helps"
    answers = list(csv.DictReader((kept / "answers.csv").open()))
    items = list(csv.DictReader((fresh.folder / "runs/smoke/benchmark/tiny-original/items.csv").open()))
    right = [float(row["value"]) for row in items if row["metric"] == "acc"]
    assert [float(row["right"]) for row in answers if row["view"] == "original"] == right
    report = fresh.folder / "reports/smoke"
    page = (report / "index.html").read_text()
    for name in ("exit-training", "gain-sources", "first-choices"):
        assert (report / f"tables/{name}.csv").exists()
    assert 'href="#why"' in page and "How much training does an exit need?" in page
    assert (report / "figures/exit-training-tiny.svg").exists() and (report / "figures/gain-sources-tiny.svg").exists()
