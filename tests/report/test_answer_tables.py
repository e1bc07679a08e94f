"""The tables on benchmarks that move: their numbers are those of the file, and the sentences follow from them."""

import copy

import pytest

from autocontrastive_gen.evaluation.answer_kinds import COLUMNS, EARLIER, RIGHT, STOP
from autocontrastive_gen.foundation.files import write_csv, write_json
from autocontrastive_gen.report.answer_tables import first_choices_table, gain_sources_table, multiple_choice_table
from autocontrastive_gen.report.exit_training_tables import exit_training_figure, exit_training_table
from autocontrastive_gen.report.render import write_report
from autocontrastive_gen.report.results import Results
from tests.report.conftest import PLAN

N = 40
KINDS = {
    "original": [RIGHT] * 10 + [STOP] * 20 + [EARLIER] * 10,
    "exit4": [STOP] * 40,
    "exit6": [RIGHT] * 4 + [STOP] * 36,
    "acd4": [RIGHT] * 8 + [EARLIER] * 2 + [RIGHT] * 12 + [STOP] * 18,
    "acd6": [RIGHT] * 10 + [STOP] * 30,
}
FILTERED = {"original": 18, "exit4": 0, "exit6": 4, "acd4": 21, "acd6": 18}


def words(view: str) -> list[dict]:
    names = [{"task": "last-word", "id": str(i), "document": f"d{i // 2}", "view": view} for i in range(N)]
    kinds = KINDS[view]
    return [
        {**name, "kind": kinds[i], "right": int(kinds[i] == RIGHT), "filtered": int(i < FILTERED[view])}
        for i, name in enumerate(names)
    ]


def choices(view: str) -> list[dict]:
    better = {"original": 0.0, "acd4": -1.0}.get(view, 0.5)
    margins = [better + (0.5 if i % 2 else -0.25) for i in range(N)]
    return [
        {
            **{"task": "qa", "id": str(i), "document": str(i), "view": view, "plausible": 0.5 if i % 2 else 0.0},
            **{"margin": margin, "right": int(margin > 0)},
        }
        for i, margin in enumerate(margins)
    ]


@pytest.fixture
def results(made_run) -> Results:
    plan = copy.deepcopy(PLAN)
    plan["analyse"] = {"training_budgets": 1, "answers": ["last-word", "qa"]}
    rows = [row for make in (words, choices) for view in KINDS for row in make(view)]
    write_csv(made_run.answers("made"), list(COLUMNS), rows)
    trained = [{"mode": "plain", "budget": 0, "acc": 0.25, "diversity": 0.2, "coherence": 0.5}]
    more = {"exit_perplexity": 90.0, "agreement": 0.4, "acc": 0.4, "diversity": 0.6, "coherence": 0.5}
    trained += [{"mode": mode, "budget": n, "tokens": n, **more} for mode, n in (("direct", 0), ("cast", 900))]
    content = {"layer": 4, "task": "last-word", "prompts": 3, "items": 40, "rows": trained}
    write_json(made_run.exit_training("made"), content)
    return Results(made_run, plan)


def test_gains_are_split_by_what_a_filter_gives(results):
    table = gain_sources_table(results)
    first, second = table.rows
    assert (first["layer"], first["n"], second["layer"]) == (4, N, 6)
    assert first["plain"].value == 0.25 and first["contrast"].value == 0.5 and first["exit"].value == 0
    assert first["gain"].value == 0.25 and first["gain"].low > 0
    assert first["filtered_gain"].value == pytest.approx(3 / 40)
    assert second["gain"].value == 0
    assert table.note.startswith("last-word: the largest gain is +0.250 [")
    assert "so the filter accounts for 70 % of it." in table.note


def test_no_gain_is_said(results):
    rows = results.answers["made"]
    rows.loc[(rows["view"] == "acd4") & (rows["task"] == "last-word"), "right"] = 0
    assert "last-word: contrast shows no gain at any layer" in gain_sources_table(results).note


def test_items_won_and_lost_are_counted_by_what_stood_there(results):
    rows = {row["view"]: row for row in first_choices_table(results).rows}
    assert rows["original"][STOP].value == 0.5 and rows["exit6"][RIGHT].value == 0.1
    assert rows["acd4"]["won"] == "12: 12 stop word"
    assert rows["acd4"]["lost"] == "2: 2 earlier word"
    assert (rows["acd6"]["won"], rows["acd6"]["lost"]) == ("0", "0")
    assert "won" not in rows["original"]


def test_multiple_choice_is_split_by_plausible_tokens(results):
    first, second = multiple_choice_table(results).rows
    assert first["plausible"].value == 0.25 and first["plain"].value == 0.5
    assert (first["gain"].value, first["few"].value, first["many"].value) == (-0.5, 0, -1)
    assert (second["gain"].value, second["few"].value, second["many"].value) == (0.5, 1, 0)
    assert first["margin"].value == -1 and second["changed"].value == 0.5
    assert "Plausible to made are, as shares of all answer tokens: 0.250 in qa. " in multiple_choice_table(results).note


@pytest.mark.parametrize(
    "untrained, kept, left_out",
    [(90.0, ("cast",), False), (900.0, ("cast",), False), (901.0, ("cast",), True), (901.0, (), False)],
)
def test_an_untrained_exit_that_would_flatten_the_others_is_left_out_and_named(results, untrained, kept, left_out):
    content = results.exit_training["made"]
    content["rows"] = [row for row in content["rows"] if row["mode"] in ("plain", "direct", *kept)]
    next(row for row in content["rows"] if row["mode"] == "direct")["exit_perplexity"] = untrained
    (figure,) = exit_training_figure(results, {"exit-training": exit_training_table(results)}, "made")
    said = f"leaves out the untrained exit of that layer: its {untrained} is over 10 times"
    assert "the exit at layer 4" in figure.caption and (said in figure.caption) is left_out
    assert ("leaves out" in figure.caption) is left_out


def test_the_page_has_a_place_for_each(results):
    rows = exit_training_table(results).rows
    assert [row["mode"] for row in rows] == ["no contrast", "direct (untrained)", "cast"]
    write_report(results.paths, results.plan)
    folder = results.paths.reports
    page = (folder / "index.html").read_text()
    assert page.index("How much training does an exit need?") < page.index('<section id="why">')
    assert page.index("a stop-word filter?") < page.index("What is chosen instead") < page.index("to multiple choice")
    assert (folder / "figures/exit-training-made.svg").exists() and (folder / "figures/gain-sources-made.svg").exists()


def test_a_run_that_asks_for_nothing_has_none_of_them(report):
    page = (report / "index.html").read_text()
    assert 'id="why"' not in page and not (report / "tables/gain-sources.csv").exists()
