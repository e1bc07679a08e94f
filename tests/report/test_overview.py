"""All settings side by side: the values, the Pareto front, what each is compared with, and what its name stands for."""

from __future__ import annotations

import csv
import re

import pytest

from autocontrastive_gen.evaluation.metrics import HUMAN
from autocontrastive_gen.foundation.files import read_json, write_json
from autocontrastive_gen.foundation.statistics import holm
from autocontrastive_gen.report.benchmark_tables import benchmark_table
from autocontrastive_gen.report.cost_summary import speeds
from autocontrastive_gen.report.gain_tables import gains_table
from autocontrastive_gen.report.methods import exits_in_words, methods_table
from autocontrastive_gen.report.overview_tables import benchmark_overview, mark_front, overview_table, with_speed
from autocontrastive_gen.report.paper import NOT_RUN, read_papers
from autocontrastive_gen.report.published_tables import published_table
from autocontrastive_gen.report.results import Results
from autocontrastive_gen.report.table import Number
from tests.report.conftest import BENCHMARKS, PLAN, SETTINGS, write_run


def test_every_setting_has_one_row_of_pooled_values(results):
    rows = {row["setting"]: row for row in overview_table(results).rows}
    assert list(rows) == [*SETTINGS, HUMAN] and all(row["n"] == 40 for row in rows.values())
    assert rows["greedy-acd"]["diversity"].value == results.pooled("made", "greedy-acd")["diversity"].value
    assert (rows["greedy-acd"]["lower"], rows["greedy-acd4"]["lower"], rows["greedy"]["lower"]) == (6, 4, None)


def test_settings_of_one_decoder_stand_together(made_run):
    plan = PLAN | {"settings": ["greedy", "beam", "greedy-acd", "beam-acd"]}
    rows = overview_table(Results(made_run, plan)).rows
    assert [row["setting"] for row in rows] == ["greedy", "greedy-acd", "beam", "beam-acd", HUMAN]


def test_a_setting_without_scores_is_not_run(results):
    table = results.per_prompt["made"]
    results.per_prompt["made"] = table[table["setting"] != "beam"]
    (row,) = [row for row in overview_table(results).rows if row["setting"] == "beam"]
    assert row["status"] == NOT_RUN and "front" not in row


def test_the_front_is_what_no_other_setting_beats():
    points = {"a": (0.9, 0.1), "b": (0.5, 0.5), "c": (0.4, 0.5), "d": (0.1, 0.9), "e": (0.5, 0.5), "human": (1, 1)}
    rows = [{"setting": s, "diversity": Number(d), "coherence": Number(c)} for s, (d, c) in points.items()]
    mark_front(rows)
    assert [row["setting"] for row in rows if row.get("front")] == ["a", "b", "d", "e"], "equal points share the front"
    assert "front" not in rows[-1], "human text is no setting"


def test_each_setting_is_compared_with_the_baseline_and_a_contrast_with_its_decoder(results):
    found = results.comparisons
    assert [pair for pair in found if pair[0] == "beam-acd"] == [("beam-acd", "beam"), ("beam-acd", "greedy")]
    assert [pair for pair in found if pair[0] == "greedy-acd"] == [("greedy-acd", "greedy")]
    assert ("repetition-penalty", "greedy") in found and not any(setting == "greedy" for setting, _ in found)


@pytest.mark.parametrize(
    "settings, baseline", [(["beam", "greedy"], "greedy"), (["beam-acd", "beam"], "beam"), (["beam-acd"], "beam-acd")]
)
def test_the_baseline(made_run, settings, baseline):
    assert Results(made_run, PLAN | {"settings": settings}).baseline == baseline


def test_paired_differences_are_corrected_within_a_domain_and_metric(results):
    rows = [row for row in gains_table(results).rows if row["domain"] == "Open"]
    corrected = holm({str(i): row["coherence_p"].value for i, row in enumerate(rows)})
    assert [row["coherence_holm"].value for row in rows] == pytest.approx(list(corrected.values()))
    assert len(rows) == len(results.comparisons)


def test_benchmarks_by_setting_show_what_each_adds(results):
    benchmark = benchmark_table(results)
    (row,) = benchmark_overview(results, benchmark).rows
    long = {line["setting"]: line for line in benchmark.rows if line["metric"] == "acc"}
    assert row["original"] == long["original"]["score"] and row["metric"] == "acc"
    assert {name: row[name] for name in BENCHMARKS[1:]} == {name: long[name]["gain"] for name in BENCHMARKS[1:]}


def test_speed_is_relative_to_the_baseline_and_on_the_page_alone(report, made_run):
    results = Results(made_run, PLAN)
    found = speeds(results)["made"]
    assert found["greedy"] == {"tokens_per_s": 384.0, "relative": 1.0}
    assert found["contrastive-search"]["relative"] == pytest.approx(0.5)
    rows = {row["setting"]: row for row in with_speed(overview_table(results), results, {"made": found}).rows}
    assert rows["contrastive-search"]["speed"].cell == "generate@made-contrastive-search" and "speed" not in rows[HUMAN]
    assert "| made | contrastive-search | 192.0 | 0.50 |" in (report / "cost.md").read_text()
    assert "Speed (greedy = 1)" in (report / "index.html").read_text()
    assert "speed" not in (report / "tables/overview.csv").read_text()
    assert not any("speed" in key for key in read_json(report / "metrics.json"))


def test_without_the_cost_of_the_baseline_there_is_no_speed(made_run):
    made_run.cost("generate", "made-greedy").unlink()
    assert speeds(Results(made_run, PLAN)) == {}


def test_names_are_explained_with_all_parameters(report):
    with open(report / "tables/methods.csv", newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert rows["repetition-penalty"]["parameters"] == "repetition_penalty 1.2, no_repeat_ngram_size 0"
    assert rows["repetition-penalty"]["method"] == "greedy"
    assert rows["dola"]["parameters"] == "layers all, alpha 0.1, variant paper, outside none"
    trained = "layers 4, 6; distillation on at most 80,000 tokens, learning rate 0.001, 1 epoch"
    assert rows["made"]["parameters"] == trained
    for name in ("overview", "quality", "benchmark"):
        note = (report / f"tables/{name}.md").read_text()
        assert "acd (alpha 0.1, minimum_candidates 1, temperature 1.0)" in note, name
    assert "learning rate 0.001" in (report / "tables/exits.md").read_text()


def test_released_exits_are_said_not_to_be_trained(results):
    results.plan = PLAN | {"train": {"method": "none"}}
    assert exits_in_words(results, "made") == "layers 4, 6; not trained in this run"
    assert methods_table(results).rows[-1]["parameters"] == "layers 4, 6; not trained in this run"


def test_dola_stands_beside_ours_where_its_model_runs(made_run, tmp_path):
    plan = PLAN | {"models": {"gpt2-medium": PLAN["models"]["made"]}}
    results = Results(write_run("dola", plan), plan)
    table = published_table(results, read_papers(None), benchmark_table(results))
    assert {row["source"] for row in table.rows} == {"Chuang et al. 2024"} and len(table.rows) == 10
    assert {row["verdict"] for row in table.rows} == {NOT_RUN} and "appendix N, table 17" in table.note


def test_the_page_says_what_of_the_paper_could_not_be_seen(report):
    page = (report / "index.html").read_text()
    assert re.search(r"Gera et al. 2023.*None of its tables could be seen.*dvc repro report", page)
    assert "No published value is of a model of this run." in page


@pytest.mark.parametrize(("threads", "device", "rate"), [(1, "cpu", 240.0), (2, "cpu", 384.0), (1, "cuda", 384.0)])
def test_other_work_on_the_machine_does_not_slow_a_cell_of_one_thread(made_run, threads, device, rate):
    path = made_run.cost("generate", "made-greedy")
    write_json(path, {**read_json(path), "threads": threads, "device": device})
    assert speeds(Results(made_run, PLAN))["made"]["greedy"]["tokens_per_s"] == pytest.approx(rate)
