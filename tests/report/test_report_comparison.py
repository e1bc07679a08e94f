"""What .ci/compare.py takes for the same report, and that no result of the report could hide in its tolerances."""

import csv
import importlib.util
import io
import json
import math

import pytest

ACCURACY, PERPLEXITY = "benchmark/m/acd/last-word/acc", "benchmark/m/acd/last-word/perplexity"
HEAD = "claim,metric,verdict,reason,n,effect,effect_low,effect_high,p\n"
CLAIM = "Contrast raises diversity,diversity,{},{},{},{},{},{},0.01\n"


@pytest.fixture(scope="module")
def ci(root):
    spec = importlib.util.spec_from_file_location("ci_compare", root / ".ci/compare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def claims(verdict="supported", reason="p is 0.01", n=48, effect=0.5, low=0.3, high=0.7) -> str:
    """A table of one claim."""
    return HEAD + CLAIM.format(verdict, reason, n, effect, low, high)


@pytest.mark.parametrize(
    "key, before, after, same",
    [
        (ACCURACY, 0.5, 0.53, True),
        (ACCURACY, 0.5, 0.45, False),
        (PERPLEXITY, 200.0, 203.0, True),
        (PERPLEXITY, 200.0, 206.0, False),
        (PERPLEXITY, math.inf, math.inf, True),
        (PERPLEXITY, 200.0, math.inf, False),
        ("exits/m/4/news/agreement", 0.5, 0.52, False),
        ("quality/m/greedy/news/mauve", 0.5, 0.7, False),
        ("quality/m/greedy/news/diversity", 0.5, 0.6, True),  # its interval in the table decides
        ("lower/m/acd", 25, 27, False),
    ],
)
def test_scores_without_generated_text_move_within_their_tolerance(ci, key, before, after, same):
    assert (list(ci.metric_faults({key: before}, {key: after})) == []) is same


def test_no_metric_may_be_lost(ci):
    assert list(ci.metric_faults({ACCURACY: 0.5}, {})) == [f"{ACCURACY}: only in the committed metrics"]


@pytest.mark.parametrize(
    "change, fault",
    [
        ({"reason": "p is 0.02", "effect": 0.52}, None),
        ({"effect": 0.8, "low": 0.65, "high": 0.9}, None),
        (
            {"effect": 0.8, "low": 0.75, "high": 0.9},
            "effect: 0.5 committed, 0.8 now, and their intervals do not agree",
        ),
        (
            {"effect": 0.1, "low": -0.1, "high": 0.35},
            "effect: 0.5 committed, 0.1 now, and their intervals do not agree",
        ),
        ({"verdict": "not shown"}, "verdict: supported committed, not shown now"),
        ({"n": 47}, "n: 48 committed, 47 now"),
        ({"effect": "", "low": "", "high": ""}, "effect: 0.5 committed, empty now"),
    ],
)
def test_claims_keep_their_verdict_and_their_effect(ci, change, fault):
    found = list(ci.table_faults("tables/claims.csv", claims(), claims(**change)))
    assert (found == []) if fault is None else f"tables/claims.csv, line 2, {fault}" in found


def test_scores_of_texts_move_within_their_intervals(ci):
    head = "setting,perplexity,perplexity_low,perplexity_high\n"
    old, near, far, infinite = (head + f"greedy,{row}\n" for row in ("5,4,6", "6,5.5,7", "8,7,9", "inf,,"))
    assert (
        list(ci.table_faults("quality.csv", old, near))
        == list(ci.table_faults("quality.csv", infinite, infinite))
        == []
    )
    assert len(list(ci.table_faults("quality.csv", old, far))) == 1
    assert len(list(ci.table_faults("quality.csv", old, infinite))) == 3, "the score, and both ends are gone"


def test_tables_keep_their_rows_and_columns(ci):
    assert list(ci.table_faults("t.csv", "a\n1\n", "a\n1\n2\n")) == ["t.csv: has other rows or columns"]
    assert list(ci.table_faults("t.csv", "a\n1\n", "b\n1\n")) == ["t.csv: has other rows or columns"]


def test_bytes_are_compared_only_where_both_reports_name_one_processor(ci):
    def cost(*cells):
        cells = [dict(zip(("processor", "threads"), cell, strict=False)) for cell in cells]
        return json.dumps({"cells": dict(enumerate(cells))})

    assert ci.same_processor(cost(("A", 2), ("A", 1), ("A",)), cost(("A", 2), ("A", 1), ("A",)))
    assert not ci.same_processor(cost(("A", 2)), cost(("B", 2)))
    assert not ci.same_processor(cost(("A", 2), ("A", 1)), cost(("A", 2), ("A", 2)))
    assert not ci.same_processor(cost(("A", 2)), cost(("A", 2), ("A", 2)))
    assert not ci.same_processor(cost(("A", 2), ()), cost(("A", 2), ()))


def test_no_effect_of_the_committed_report_could_vanish_unnoticed(ci, root):
    """Even with the verdict left as it is: an effect of 0 with an interval of the same width is a fault."""
    text = (root / "reports/laptop/tables/claims.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    vanished = [row for row in rows if row["verdict"] in ("supported", "contradicted")]
    assert vanished
    for row in vanished:
        half = (float(row["effect_high"]) - float(row["effect_low"])) / 2
        row |= {"effect": "0", "effect_low": str(-half), "effect_high": str(half)}
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    assert len(list(ci.table_faults("claims.csv", text, out.getvalue()))) == len(vanished)
