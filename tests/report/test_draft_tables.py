"""The conclusion on drafts follows from the numbers, and the speed from the formula."""

import json

import pytest

from autocontrastive_gen.foundation.files import read_json
from autocontrastive_gen.report.draft_tables import best_length, drafts_table


def test_the_best_length_balances_drafts_and_passes():
    per_pass = {"1": 1.6, "2": 2.2, "3": 2.3}
    assert best_length(per_pass, 0.1) == (2, pytest.approx(2.2 / 1.2))
    assert best_length(per_pass, 0.9) == (1, pytest.approx(1.6 / 1.9))


def test_break_even_is_the_cost_of_a_draft_step():
    """Independent agreement a: (1 - a**(k+1)) / (1 - a) tokens per pass pay for some k exactly if a > c."""
    for a, cost in ((0.55, 0.6), (0.65, 0.6), (0.85, 0.9), (0.95, 0.9)):
        per_pass = {str(k): (1 - a ** (k + 1)) / (1 - a) for k in range(1, 9)}
        assert (best_length(per_pass, cost)[1] > 1) is (a > cost)


def test_the_conclusion_follows_the_numbers(results):
    table = drafts_table(results)
    assert [row["layer"] for row in table.rows] == ["4", "6", "4", "6"]
    assert table.note.startswith("No: under no setting")
    path = results.paths.drafts("made")
    content = read_json(path)
    content["settings"]["greedy"]["6"]["per_pass"]["3"] = 3.9
    path.write_text(json.dumps(content))
    del results.drafts
    expected = "layer 6 under greedy (1.147 times as fast at draft length 3)."
    assert (
        f"In 1 of 4 cases an exit pays as a draft of its own model, at best: {expected}" in drafts_table(results).note
    )


def test_without_results_there_is_no_table(results):
    results.paths.drafts("made").write_text("{}")
    assert not drafts_table(results).rows
