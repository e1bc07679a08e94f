"""What .ci/compare.py takes for the same report, and that no result of the report could hide in its tolerances."""

import csv
import importlib.util
import json

import pytest

from autocontrastive_gen.evaluation.metrics import item_metric, text_metrics

DIVERSITY, PERPLEXITY = "quality/m/greedy/news/diversity", "quality/m/greedy/news/perplexity"
CLAIMS = "claim,metric,verdict,reason,effect,p\nContrast raises diversity,diversity,{},{},{},0.01\n"


@pytest.fixture(scope="module")
def ci(root):
    spec = importlib.util.spec_from_file_location("ci_compare", root / ".ci/compare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_number_may_move_by_the_tolerance_of_its_metric(ci):
    allowed = text_metrics()["diversity"].tolerance.absolute
    assert list(ci.metric_faults({DIVERSITY: 0.5}, {DIVERSITY: 0.5 + 0.9 * allowed})) == []
    assert list(ci.metric_faults({DIVERSITY: 0.5}, {DIVERSITY: 0.5 - 1.1 * allowed})) != []


def test_a_perplexity_may_move_by_a_share_of_itself(ci):
    allowed = text_metrics()["perplexity"].tolerance.relative
    assert list(ci.metric_faults({PERPLEXITY: 200.0}, {PERPLEXITY: 200 * (1 + 0.9 * allowed)})) == []
    assert list(ci.metric_faults({PERPLEXITY: 200.0}, {PERPLEXITY: 200 * (1 + 1.1 * allowed)})) != []
    assert list(ci.metric_faults({PERPLEXITY: float("inf")}, {PERPLEXITY: float("inf")})) == []
    assert list(ci.metric_faults({PERPLEXITY: 200.0}, {PERPLEXITY: float("inf")})) != []


def test_layers_and_the_set_of_metrics_are_exact(ci):
    assert list(ci.metric_faults({"lower/m": 25}, {"lower/m": 27})) == ["lower/m: 25 committed, 27 now"]
    assert list(ci.metric_faults({DIVERSITY: 0.5}, {})) == [f"{DIVERSITY}: only in the committed metrics"]


def test_words_of_tables_are_the_same(ci):
    old = CLAIMS.format("supported", "p is 0.01", 0.5)
    assert list(ci.table_faults("claims.csv", old, CLAIMS.format("supported", "p is 0.02", 0.5001))) == []
    (fault,) = ci.table_faults("claims.csv", old, CLAIMS.format("not shown", "p is 0.01", 0.5))
    assert fault == "claims.csv, line 2, verdict: supported committed, not shown now"
    (fault,) = ci.table_faults("claims.csv", old, CLAIMS.format("supported", "p is 0.01", 0.2))
    assert "effect 0.5 committed, 0.2 now" in fault
    assert list(ci.table_faults("t.csv", "a\n1\n", "a\n1\n2\n")) == ["t.csv: has other rows or columns"]
    assert list(ci.table_faults("t.csv", "a,b\n1,\n", "a,b\n1,2\n")) == ["t.csv, line 2, b: empty committed, 2 now"]


def test_bytes_are_compared_only_where_both_reports_name_one_processor(ci):
    def cost(*names):
        cells = {str(i): {"cores": 2} | ({"processor": name} if name else {}) for i, name in enumerate(names)}
        return json.dumps({"cells": cells})

    assert ci.same_processor(cost("A", "A"), cost("A"))
    assert not ci.same_processor(cost("A"), cost("B"))
    assert not ci.same_processor(cost("A"), cost("A", None))
    assert not ci.same_processor(cost(None), cost(None))


def test_no_effect_of_the_committed_report_could_hide_in_a_tolerance(root):
    with open(root / "reports/laptop/tables/claims.csv", newline="", encoding="utf-8") as file:
        shown = [row for row in csv.DictReader(file) if row["verdict"] in ("supported", "contradicted")]
    assert shown
    for row in shown:
        metric = text_metrics().get(row["metric"]) or item_metric(row["metric"])
        assert abs(float(row["effect"])) > 3 * metric.tolerance.absolute, row["claim"]
