"""The rule that chooses for benchmarks: the one-standard-error rule on accuracies of validation items."""

import math

import numpy as np
import pytest

from autocontrastive_gen.pipeline.benchmark_choice import (
    accuracy,
    accuracy_error,
    choose_accurate,
    item_scores,
    most_accurate,
)


def scores(right: str, documents: str | None = None, task: str = "t") -> dict:
    """Items that are right (1) or wrong (0), by default each from a document of its own."""
    return {
        task: {"values": [int(each) for each in right], "documents": list(documents or map(str, range(len(right))))}
    }


def candidates(**right: str) -> list[dict]:
    """Candidates "l15", "l20", ... with their items."""
    return [{"lower": int(name[1:]), "parameters": {}, "items": scores(each)} for name, each in right.items()]


def test_a_layer_that_is_clearly_better_wins():
    good, bad = "1" * 30 + "0" * 10, "1" * 10 + "0" * 30
    assert choose_accurate(candidates(l15=bad, l20=good, l25=bad), halfway=15)["lower"] == 20


def test_within_one_standard_error_the_layer_nearest_the_halfway_one_is_taken():
    """Layer 25 gains 3 items and loses 2: a difference of 1/40, whose standard error is sqrt(5)/40."""
    base = "1" * 20 + "0" * 20
    other = "00" + "1" * 18 + "111" + "0" * 17
    found = candidates(l10=base, l20=base, l25=other)
    assert most_accurate(found)["lower"] == 25
    error = accuracy_error(scores(base), scores(other))
    assert error == pytest.approx(np.std([1, 1, -1, -1, -1] + [0] * 35, ddof=1) / math.sqrt(40))
    assert choose_accurate(found, halfway=15)["lower"] == 10, "of two equally near, the lower one"
    assert choose_accurate(found, halfway=24)["lower"] == 25
    assert choose_accurate(found[1:], halfway=15)["lower"] == 20


def test_items_of_one_document_count_together():
    one, other = scores("111000", "aabbcc"), scores("000000", "aabbcc")
    twice = scores("111000" * 2, "aabbcc" * 2), scores("0" * 12, "aabbcc" * 2)
    assert accuracy_error(one, other) == pytest.approx(accuracy_error(*twice))
    single = [
        {"lower": layer, "parameters": {}, "items": scores(right, "aaaa")}
        for layer, right in ((9, "0000"), (20, "1111"))
    ]
    assert choose_accurate(single, halfway=10)["lower"] == 9, "one document tells no layers apart"


def test_tasks_count_alike_whatever_their_number_of_items():
    both = scores("1111", task="a") | scores("00000000", task="b")
    assert accuracy(both) == 0.5
    other = scores("0110", task="a") | scores("01000000", task="b")
    of_a, of_b = accuracy_error(scores("1111"), scores("0110")), accuracy_error(scores("0" * 8), scores("01000000"))
    assert accuracy_error(both, other) == pytest.approx(math.hypot(of_a, of_b) / 2)


def test_without_a_lower_layer_the_first_of_equal_values_is_taken():
    equal = [{"lower": None, "parameters": {"layers": each}, "items": scores("1010")} for each in ("low", "high")]
    assert choose_accurate(equal, halfway=15) is equal[0]
    assert choose_accurate([], halfway=15) is None


def test_only_accuracies_are_read_from_the_rows_of_a_benchmark():
    row = {"task": "t", "id": "1", "document": "d", "metric": "acc", "value": 1.0}
    rows = [row, {**row, "metric": "perplexity", "value": -3.0}, {**row, "document": 7, "value": 0.0}]
    assert item_scores(rows, ["t"]) == {"t": {"values": [1.0, 0.0], "documents": ["d", "7"]}}
