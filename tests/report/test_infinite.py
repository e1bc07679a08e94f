"""A method may give a target the probability zero: its infinite perplexity is a value, from the results to the page."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pandas as pd
import pytest

from autocontrastive_gen.evaluation.benchmarks import ITEM_COLUMNS, items, results
from autocontrastive_gen.foundation.files import read_json, write_csv, write_json
from autocontrastive_gen.report.benchmark_tables import benchmark_table
from autocontrastive_gen.report.gains import item_interval, pair_items
from autocontrastive_gen.report.render import write_report
from autocontrastive_gen.report.results import Results
from tests.report.conftest import PLAN

LIKELIHOODS = [-0.5] * 39 + [-math.inf]


def lm_eval_output() -> dict:
    """What lm-eval returns for a task whose last target has the probability zero."""
    samples = [
        {"doc_id": i, "doc": {"id": str(i)}, "filter": "none", "metrics": ["perplexity"], "perplexity": value}
        for i, value in enumerate(LIKELIHOODS)
    ]
    entry = {"perplexity,none": math.exp(-np.mean(LIKELIHOODS)), "perplexity_stderr,none": math.nan}
    return {
        "results": {"last-word": entry},
        "n-samples": {"last-word": {"effective": 40}},
        "samples": {"last-word": samples},
    }


@pytest.fixture
def infinite(made_run):
    """The made run, where contrast makes a benchmark's, a text's and an exit's perplexity infinite."""
    write_json(made_run.results("made", "acd"), results(lm_eval_output()))
    write_csv(made_run.items("made", "acd"), list(ITEM_COLUMNS), items(lm_eval_output()))
    scores = read_json(made_run.metrics("made"))
    scores["greedy-acd"]["open"]["perplexity"] |= {"value": math.inf, "low": None, "high": None}
    write_json(made_run.metrics("made"), scores)
    table = pd.read_csv(made_run.per_prompt("made"))
    table.loc[(table["setting"] == "greedy-acd") & (table["id"] == "open-3"), "perplexity"] = math.inf
    write_csv(made_run.per_prompt("made"), list(table.columns), table.to_dict("records"))
    exits = read_json(made_run.exit_quality("made"))
    exits["open"]["4"]["perplexity"] = math.inf
    write_json(made_run.exit_quality("made"), exits)
    return made_run


def rows(path, **of) -> list[dict]:
    with open(path, newline="") as file:
        return [row for row in csv.DictReader(file) if of.items() <= row.items()]


def test_an_infinite_perplexity_is_shown_as_such(infinite):
    write_report(infinite, PLAN)
    tables = infinite.reports / "tables"
    (quality,) = rows(tables / "quality.csv", cell="made open greedy-acd")
    (benchmark,) = rows(tables / "benchmark.csv", setting="acd", metric="perplexity")
    (exit_,) = rows(tables / "exits.csv", domain="Open", layer="4")
    for found, key in ((quality, "perplexity"), (benchmark, "score"), (exit_, "perplexity")):
        assert float(found[key]) == math.inf
    assert quality["perplexity_low"] == benchmark["score_high"] == benchmark["gain"] == ""
    for name in ("quality", "benchmark", "exits"):
        assert "| ∞ |" in (tables / f"{name}.md").read_text()
        assert r"& $\infty$" in (tables / f"{name}.tex").read_text()
    page = (infinite.reports / "index.html").read_text()
    assert page.count(">∞<") >= 3 and 'data-k="Infinity"' in page and "nan" not in page.lower().split()
    metrics = json.loads((infinite.reports / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert metrics["quality/made/greedy-acd/open/perplexity"] == "Infinity"
    assert metrics["benchmark/made/acd/last-word/perplexity"] == "Infinity"


def test_what_zeros_do_to_multiple_choice_is_said_of_the_tasks_that_were_run(made_run):
    note = benchmark_table(Results(made_run, PLAN)).note
    assert "Under dola, " in note and "where many of the answers' tokens are not plausible" in note
    assert "truthfulqa_mc1" not in note
    asked = benchmark_table(Results(made_run, PLAN | {"tasks": ["last-word", "truthfulqa_mc1"]})).note
    assert "takes the first, which in truthfulqa_mc1 is the right one: " in asked
    without = PLAN | {"benchmark_settings": ["original", "acd"]}
    assert "probability zero" not in benchmark_table(Results(made_run, without)).note


def test_it_has_no_interval_and_no_paired_test(infinite):
    found = Results(infinite, PLAN)
    assert item_interval(found, "made", "acd", "last-word", "perplexity") is None
    assert pair_items(found, "made", "acd", "last-word", "perplexity") is None
    assert item_interval(found, "made", "original", "last-word", "perplexity") is not None
