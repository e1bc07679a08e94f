from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from autocontrastive_gen.evaluation.metrics.ngrams import COUNTS
from autocontrastive_gen.foundation import statistics
from autocontrastive_gen.report import claims
from autocontrastive_gen.report.claim_rules import Claims, read_claims
from autocontrastive_gen.report.gains import Gain, item_interval, pair_items, pair_texts
from autocontrastive_gen.report.paper import NOT_RUN

RULES = {"alpha": 0.05, "level": 0.95, "samples": 2000, "minimum_n": 16}
GREEDY = {"statement": "s", "decodes": ["greedy"]}


def verdicts(results, *entries: dict, **rules) -> list[str]:
    content = {**RULES, **rules, "claims": [{"id": str(i), **entry} for i, entry in enumerate(entries)]}
    return [check.verdict for check in claims.check_claims(results, Claims.model_validate(content))]


def shift(results, setting: str, by: float) -> None:
    """Set the coherence of a setting to that of plain greedy search plus a constant and a little noise."""
    table = results.per_prompt["made"].set_index(["setting", "domain", "id"]).sort_index()
    noise = np.random.default_rng(0).normal(0, 0.001, 40)
    table.loc[setting, "coherence"] = table.loc["greedy", "coherence"].to_numpy() + by + noise
    results.per_prompt["made"] = table.reset_index()


def test_the_committed_claims_on_the_made_run(results):
    found = {check.claim.id: check for check in claims.check_claims(results, read_claims())}
    assert found["greedy-diversity"].verdict == found["beam-diversity"].verdict == claims.SUPPORTED
    assert found["greedy-diversity"].scope == "Open and Closed, lower layer 6"
    assert found["sampling-gains-less"].verdict == claims.SUPPORTED
    assert found["sampling-gains-less"].found.difference.value < -0.3
    assert found["halfway-layer"].settings == "greedy-acd4 − greedy", "8 layers: the exit at 4 is halfway"
    assert found["halfway-layer"].verdict == claims.NOT_SHOWN
    assert found["last-words"].settings == "acd4 − original", "the halfway layer, not the chosen one"
    assert found["last-words"].scope == "last-word, lower layer 4"
    assert found["last-words"].verdict == claims.SUPPORTED
    assert found["last-words"].found.difference.n == 20, "two items of each document are resampled together"
    assert all(check.corrected >= check.p for check in found.values())


def test_last_words_of_other_texts_do_not_decide(results):
    for table in results.items["made"].values():
        table["document"] = table["document"].str.replace("stories", "open")
    (check,) = [c for c in claims.check_claims(results, read_claims()) if c.claim.id == "last-words"]
    assert (check.verdict, check.p) == (NOT_RUN, None)
    assert check.reason == "the run has no task lambada_openai or last-word, as the claim asks for it"


def test_the_publishers_task_comes_first(results):
    lambada = {setting: table.assign(task="lambada_openai") for setting, table in results.items["made"].items()}
    results.items["made"] = {name: pd.concat([results.items["made"][name], table]) for name, table in lambada.items()}
    results.plan = {**results.plan, "tasks": ["last-word", "lambada_openai"]}
    (check,) = [c for c in claims.check_claims(results, read_claims()) if c.claim.id == "last-words"]
    assert check.scope == "lambada_openai, lower layer 4"


def test_benchmarks_without_the_halfway_layer_are_not_run(results):
    results.plan = {**results.plan, "benchmark_settings": ["original", "exit4", "acd"]}
    (check,) = [c for c in claims.check_claims(results, read_claims()) if c.claim.id == "last-words"]
    assert check.verdict == NOT_RUN
    assert check.reason == "the run has no benchmarks of acd at that layer, as the claim asks for it"


@pytest.mark.parametrize(
    "by, verdict", [(0.0, claims.SUPPORTED), (-0.01, claims.SUPPORTED), (-0.05, claims.CONTRADICTED)]
)
def test_no_loss_means_above_the_margin(results, by, verdict):
    shift(results, "greedy-acd", by)
    assert verdicts(results, {**GREEDY, "kind": "no-loss", "metric": "coherence", "margin": 0.02}) == [verdict]


def test_no_loss_on_the_margin_itself_is_not_shown(results):
    shift(results, "greedy-acd", -0.02)
    assert verdicts(results, {**GREEDY, "kind": "no-loss", "metric": "coherence", "margin": 0.02}) == [claims.NOT_SHOWN]


def test_a_fall_contradicts_a_rise(results):
    shift(results, "greedy-acd", -0.03)
    assert verdicts(results, {**GREEDY, "kind": "raises", "metric": "coherence"}) == [claims.CONTRADICTED]


def test_holm_rejects_what_many_claims_would_find_by_chance(results, monkeypatch):
    shift(results, "greedy-acd", 0.05)
    claim = {**GREEDY, "kind": "raises", "metric": "coherence"}
    assert verdicts(results, claim, samples=100) == [claims.SUPPORTED]
    assert verdicts(results, *[claim] * 3, samples=100) == [claims.NOT_SHOWN] * 3, "p is at least 2 / 101"


def test_a_verdict_says_why(results):
    shift(results, "greedy-acd", 0.05)
    raises, loses = ({**GREEDY, "kind": kind, "metric": "coherence"} for kind in ("raises", "no-loss"))
    content = {**RULES, "samples": 100, "claims": [{"id": "a", **raises}, {"id": "b", **loses, "margin": 0.02}]}
    found = claims.check_claims(results, Claims.model_validate(content))
    assert [check.reason for check in found] == [
        "the interval lies above 0, and the corrected test agrees",
        "the one-sided bound lies above −0.02, and the corrected test agrees",
    ]
    content["claims"] = [{"id": str(i), **raises} for i in range(3)]
    found = claims.check_claims(results, Claims.model_validate(content))
    assert found[0].reason == "the interval lies above 0, but corrected for 3 tests p is 0.059"
    shift(results, "greedy-acd", 0.0)
    found = claims.check_claims(results, Claims.model_validate(content))
    assert found[0].reason == "the interval contains 0: these data allow either"


def test_no_loss_is_tested_on_one_side(results):
    shift(results, "greedy-acd", 0.0)
    content = {**RULES, "claims": [{"id": "a", **GREEDY, "kind": "no-loss", "metric": "coherence", "margin": 0.02}]}
    (check,) = claims.check_claims(results, Claims.model_validate(content))
    paired = pair_texts(results, "made", [Gain("greedy-acd", "greedy")], "coherence")
    assert check.p == paired.above(-0.02, 2000) and check.opposite == paired.below(-0.02, 2000) > 0.9
    interval = paired.difference(level=0.9, samples=2000).difference
    assert check.found.difference.low == pytest.approx(interval.low)


def test_too_few_documents_give_no_verdict(results):
    assert verdicts(results, {**GREEDY, "kind": "raises", "metric": "diversity"}, minimum_n=41) == [claims.NO_VERDICT]


def test_settings_that_are_not_in_the_run(results):
    missing = {"statement": "s", "kind": "raises", "metric": "diversity", "decodes": ["top-k"]}
    assert verdicts(results, missing) == [NOT_RUN]
    assert verdicts(results, {**GREEDY, "kind": "raises", "metric": "mauve"}) == [NOT_RUN]
    on_task = {"statement": "s", "kind": "raises", "metric": "f1", "tasks": [{"name": "last-word"}]}
    assert verdicts(results, on_task) == [NOT_RUN]


def test_a_gain_is_the_difference_of_pooled_diversities(results):
    table = results.per_prompt["made"]

    def diversity(setting: str, domain: str) -> float:
        rows = table[(table["setting"] == setting) & (table["domain"] == domain)]
        return float(statistics.pooled_product(rows[list(COUNTS)].sum().to_numpy(float), len(rows)))

    found = pair_texts(results, "made", [Gain("greedy-acd", "greedy")], "diversity", "open").difference()
    assert found.difference.value == pytest.approx(diversity("greedy-acd", "open") - diversity("greedy", "open"))
    assert found.difference.n == 20


def test_a_weighted_sum_of_gains(results):
    parts = [Gain("greedy-acd", "greedy", 1.0), Gain("beam-acd", "beam", -0.5)]
    whole = pair_texts(results, "made", parts, "coherence").difference().difference.value
    single = [
        pair_texts(results, "made", [Gain(p.setting, p.baseline)], "coherence").difference().difference.value
        for p in parts
    ]
    assert whole == pytest.approx(single[0] - 0.5 * single[1])


def test_only_documents_that_both_settings_have_are_paired(results):
    table = results.per_prompt["made"]
    results.per_prompt["made"] = table[~((table["setting"] == "greedy") & (table["id"] == "open-3"))]
    assert pair_texts(results, "made", [Gain("greedy-acd", "greedy")], "coherence").difference().difference.n == 39


def test_item_intervals(results):
    found = item_interval(results, "made", "acd", "last-word", "acc")
    assert found.low < found.value == pytest.approx(results.benchmarks["made"]["acd"]["last-word"]["acc"]["value"])
    assert item_interval(results, "made", "acd", "last-word", "f1") is None


def test_perplexity_comes_from_log_likelihoods(results):
    scores = {name: tasks["last-word"]["perplexity"]["value"] for name, tasks in results.benchmarks["made"].items()}
    found = item_interval(results, "made", "acd", "last-word", "perplexity")
    assert found.value == pytest.approx(scores["acd"], rel=1e-4) and found.low < found.value < found.high
    gain = pair_items(results, "made", "acd", "last-word", "perplexity").difference()
    assert gain.difference.value == pytest.approx(scores["acd"] - scores["original"], abs=1e-4)


def test_prompts_of_one_document_are_resampled_together(results):
    gains = [Gain("greedy-acd", "greedy")]
    apart = pair_texts(results, "made", gains, "coherence").difference().difference
    table = results.per_prompt["made"]
    pairs = table["id"].map(lambda name: f"{name.rpartition('-')[0]}-{int(name.rpartition('-')[2]) // 2}")
    results.per_prompt["made"] = table.assign(document=pairs)
    together = pair_texts(results, "made", gains, "coherence").difference().difference
    assert (apart.n, together.n) == (40, 20) and together.value == pytest.approx(apart.value)
    assert results.pooled("made", "greedy")["coherence"].n == 40
