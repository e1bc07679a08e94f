"""What was chosen on validation prompts, in tables, metrics and the descriptions of settings."""

import copy

import pytest

from autocontrastive_gen.foundation.files import read_json, write_json
from autocontrastive_gen.report.choice_tables import by_layer, selection_table
from autocontrastive_gen.report.methods import catalogue_note, methods_table
from autocontrastive_gen.report.metrics_file import flat
from autocontrastive_gen.report.results import Results
from tests.report.conftest import PLAN

ALPHAS = {(4, 0.1): 0.4, (4, 0.3): 0.5, (6, 0.1): 0.7, (6, 0.3): 0.6}
"""Diversity of every candidate of ``acd``."""


@pytest.fixture
def chosen(made_run) -> Results:
    """A run that has chosen alpha 0.1 with layer 6, and alpha 0.3 for the settings that name layer 4."""
    plan = copy.deepcopy(PLAN)
    plan["contrasts"]["acd"] = {"method": "acd", "minimum_candidates": 1, "choose": {"alpha": [0.1, 0.3]}}
    plan["contrasts"]["dola"] = {"method": "dola", "choose": {"layers": ["all", "low"]}}
    selection = read_json(made_run.selection("made"))
    selection["acd"]["chosen"] = {"lower": 6, "parameters": {"alpha": 0.1}}
    selection["acd"]["candidates"] = [
        {"lower": lower, "parameters": {"alpha": alpha}, "diversity": diversity, "coherence": 0.5}
        for (lower, alpha), diversity in ALPHAS.items()
    ]
    scores = {"diversity": 0.3, "coherence": 0.5}
    groups = [{"lower": None, "parameters": {"layers": each}, **scores} for each in ("all", "low")]
    best = {"lower": None, "parameters": {"layers": "low"}}
    selection["dola"] = {**selection["acd"], "candidates": groups, "chosen": best}
    write_json(made_run.selection("made"), {"dola": selection["dola"], "acd": selection["acd"]})
    results = Results(made_run, plan)
    for setting in results.grid.all:
        path = made_run.resolved("made", setting.name)
        values = {"acd": {"alpha": 0.3 if setting.lower == 4 else 0.1}, "dola": {"layers": "low"}}
        if setting.contrast in values:
            write_json(path, read_json(path) | {"contrast": {"method": setting.contrast} | values[setting.contrast]})
    return results


def test_one_table_holds_every_candidate_and_marks_what_settings_use(chosen):
    table = selection_table(chosen)
    rows = {(row["contrast"], row["lower"], row.get("parameters")): row.get("chosen") for row in table.rows}
    assert rows == {
        ("dola", None, "layers all"): False,
        ("dola", None, "layers low"): True,
        ("dola", "no contrast", None): None,
        ("acd", "4", "alpha 0.1"): False,
        ("acd", "4", "alpha 0.3"): "for layer 4",
        ("acd", "6", "alpha 0.1"): True,
        ("acd", "6", "alpha 0.3"): False,
        ("acd", "no contrast", None): None,
    }
    assert table.note.startswith("Chosen on validation prompts, reported on test prompts")
    assert "takes the best candidate with that layer" in table.note


def test_without_a_choice_of_parameters_the_table_has_no_column_for_them(results):
    table = selection_table(results)
    assert "Parameters tried" not in [column.title for column in table.shown]
    assert "that names its lower layer" not in table.note


def test_scores_by_layer_are_those_with_the_chosen_parameters(chosen):
    found = by_layer(chosen, "made")
    assert {layer: scores["diversity"] for layer, scores in found.items()} == {"plain": 0.25, "4": 0.4, "6": 0.7}
    assert found["6"]["chosen"] and not found["4"]["chosen"]


def test_descriptions_of_settings_name_the_chosen_values(chosen):
    note = catalogue_note(chosen, "contrasts")
    with_six = [s.name for s in chosen.settings_with("acd") if s.lower is None]
    with_four = [s.name for s in chosen.settings_with("acd") if s.lower == 4]
    assert len(with_four) == 2
    values = f"alpha 0.1 for {', '.join(with_six)} and 0.3 for {', '.join(with_four)}"
    assert f"{values} (chosen from 0.1, 0.3 on validation prompts)" in note
    rows = {row["name"]: row["parameters"] for row in methods_table(chosen).rows}
    assert rows["dola"] == "layers low (chosen from all, low on validation prompts)"


def test_chosen_numbers_are_metrics_of_the_run(chosen):
    found = flat(chosen)
    assert found["lower/made/acd"] == 6 and found["chosen/made/acd/alpha"] == 0.1
    assert not [key for key in found if key.startswith(("lower/made/dola", "chosen/made/dola"))]


def test_what_benchmarks_choose_apart_stands_beside_the_choice_for_texts(made_run):
    plan = copy.deepcopy(PLAN)
    plan["select"]["benchmark_tasks"] = ["last-word"]
    candidates = [
        {"lower": 4, "parameters": {}, "accuracy": 0.5, "accuracy_error": 0.0},
        {"lower": 6, "parameters": {}, "accuracy": 0.25, "accuracy_error": 0.125},
    ]
    chosen = {"rule": "most accurate", "upper": "original", "chosen": {"lower": 4, "parameters": {}}}
    content = {"acd": chosen | {"plain": {"accuracy": 0.375}, "candidates": candidates}}
    write_json(made_run.benchmark_selection("made"), content)
    results = Results(made_run, plan)
    table = selection_table(results)
    rows = {row["lower"]: row for row in table.rows}
    assert list(rows) == ["4", "6", "no contrast"]
    found = {lower: (row.get("chosen"), row.get("benchmarks"), row["accuracy"].value) for lower, row in rows.items()}
    assert found == {"4": (False, True, 0.5), "6": (True, False, 0.25), "no contrast": (None, None, 0.375)}
    assert rows["6"]["diversity"].value == 0.7 and rows["6"]["accuracy_error"].value == 0.125
    titles = [column.title for column in table.shown]
    assert "Chosen for texts" in titles and "Chosen for benchmarks" in titles
    assert "on validation items of last-word, and are reported on items of other documents" in table.note
    metrics = flat(results)
    assert metrics["lower/made/acd"] == 6 and metrics["benchmark-lower/made/acd"] == 4
