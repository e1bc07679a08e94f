"""Contrast against cheaper remedies: which of the outcomes each pair of effects is."""

from __future__ import annotations

import numpy as np
import pytest

from autocontrastive_gen.report.claim_rules import Claims
from autocontrastive_gen.report.claims import NO_VERDICT
from autocontrastive_gen.report.paper import NOT_RUN
from autocontrastive_gen.report.trade_offs import NEITHER, check_trade_offs

WINS, LOSES = "more diversity at no less coherence", "less coherence at equal diversity"
ASKED = {
    "setting": "greedy-acd",
    "against": ["greedy"],
    "gain": "diversity",
    "keep": "coherence",
    "margins": {"diversity": 0.05, "coherence": 0.02},
}


def rules(**changes) -> Claims:
    shared = {"alpha": 0.05, "level": 0.95, "samples": 2000, "minimum_n": 16, "claims": []}
    return Claims.model_validate(shared | {"trade_offs": ASKED | changes})


def place(results, diversity: float, coherence: float) -> None:
    """Put greedy-acd at a distance from greedy in both metrics, give or take a little."""
    table = results.per_prompt["made"].set_index(["setting", "domain", "id"]).sort_index()
    table["unique_2"] = table["unique_2"].astype(float)
    plain, noise = table.loc["greedy"], np.random.default_rng(1).normal(0, 0.003, (2, 40))
    table.loc["greedy-acd", "coherence"] = plain["coherence"].to_numpy() + coherence + noise[0]
    for order in (3, 4):
        table.loc[["greedy", "greedy-acd"], f"unique_{order}"] = table.loc["greedy", f"total_{order}"].iloc[0]
    share = (plain["unique_2"] / plain["total_2"]).to_numpy() + diversity + noise[1]
    table.loc["greedy-acd", "unique_2"] = share * plain["total_2"].to_numpy()
    results.per_prompt["made"] = table.reset_index()


@pytest.mark.parametrize(
    "diversity, coherence, verdict",
    [
        (0.2, 0.0, WINS),
        (0.2, 0.1, WINS),
        (0.2, -0.1, NEITHER),
        (0.0, -0.1, LOSES),
        (0.03, -0.1, LOSES),
        (-0.2, -0.1, NEITHER),
        (-0.2, 0.1, NEITHER),
        (0.0, 0.0, NEITHER),
    ],
)
def test_outcomes(results, diversity, coherence, verdict):
    place(results, diversity, coherence)
    (found,) = check_trade_offs(results, rules())
    assert found.verdict == verdict
    assert found.gain.value == pytest.approx(diversity, abs=0.01)
    assert found.keep.value == pytest.approx(coherence, abs=0.01)


def test_both_outcomes_of_every_rival_count_as_tests(results):
    place(results, 0.2, 0.0)
    (alone,) = check_trade_offs(results, rules())
    together = check_trade_offs(results, rules(against=["greedy", "top-p", "beam"]))
    assert alone.p_better == pytest.approx(2 / 2001) and together[0].p_better > alone.p_better


def test_a_rival_that_was_not_run_is_named_so(results):
    (found,) = check_trade_offs(results, rules(against=["typical"]))
    assert (found.verdict, found.gain) == (NOT_RUN, None)


def test_too_few_documents_give_no_verdict(results):
    few = rules().model_copy(update={"minimum_n": 41})
    assert [found.verdict for found in check_trade_offs(results, few)] == [NO_VERDICT]


def test_margins_name_both_metrics():
    with pytest.raises(ValueError, match="one of diversity and one of coherence"):
        rules(margins={"diversity": 0.05})
