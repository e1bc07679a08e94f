"""From texts to the table by text and to scores with intervals."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from autocontrastive_gen.evaluation.metrics import HUMAN, scored_metrics, text_metrics
from autocontrastive_gen.evaluation.metrics.diversity import diversity
from autocontrastive_gen.evaluation.metrics.ngrams import COUNTS
from autocontrastive_gen.evaluation.text_scores import aggregate, corpus_values, score_table

OPTIONS = {"bootstrap": {"samples": 200, "level": 0.9}, "seed": 1, "text_perplexity": True, "mauve": False}


class Encoder:
    def encode(self, texts, **_):
        return np.array([[1.0, len(text)] for text in texts])


def context(**options):
    return SimpleNamespace(options=OPTIONS | options, encoder=Encoder())


def row(name, text, nll, changed=None):
    return {
        "id": name,
        "prompt": "p",
        "continuation": text,
        "tokens": [0] * 10,
        "nll": nll,
        "changed": None if changed is None else [{"position": i} for i in range(changed)],
    }


@pytest.fixture
def texts():
    loop, story = "a b a b a b a b", "one two three four five six seven"
    return {
        ("greedy", "news"): [row("n1", loop, 1.0), row("n2", story, 2.0), row("n3", loop, 3.0)],
        ("greedy-acd", "news"): [row("n1", story, 2.0, 1), row("n2", story, 2.0, 3), row("n3", story, 2.0, 5)],
        (HUMAN, "news"): [row("n1", story, 2.5), row("n2", story, 2.5), row("n3", "short", 2.5)],
    }


def scores(texts, **options):
    return aggregate(score_table(texts, context(**options)), {}, OPTIONS | options)


def test_the_table_has_a_row_per_text_and_the_columns_of_every_metric(texts):
    table = score_table(texts, context())
    assert list(zip(table["setting"], table["id"], strict=True)) == [(s, f"n{i}") for s, _ in texts for i in (1, 2, 3)]
    needed = {column for metric in scored_metrics(OPTIONS) for column in metric.columns}
    assert {"coherence", "changed", "perplexity", *COUNTS} <= needed <= set(table.columns)
    assert table["changed"][3:6].tolist() == [0.1, 0.3, 0.5] and table["changed"][:3].isna().all()


def test_scores_are_those_of_the_definitions(texts):
    table = score_table(texts, context())
    found = scores(texts)
    greedy = found["greedy"]["news"]
    assert greedy["diversity"]["value"] == diversity([r["continuation"] for r in texts["greedy", "news"]])
    assert greedy["diversity"]["low"] <= greedy["diversity"]["value"] <= greedy["diversity"]["high"]
    assert greedy["coherence"]["value"] == pytest.approx(table["coherence"][:3].mean())
    assert greedy["perplexity"]["value"] == pytest.approx(math.exp(2.0))
    unique, total = (table[f"{kind}_2"][:3].sum() for kind in ("unique", "total"))
    assert greedy["rep_2"]["value"] == pytest.approx(100 * (1 - unique / total))
    assert "changed" not in greedy and found["greedy-acd"]["news"]["changed"]["value"] == pytest.approx(0.3)
    assert {entry["n"] for entry in found[HUMAN]["news"].values()} == {3}


def test_the_same_seed_gives_the_same_intervals(texts):
    assert scores(texts) == scores(texts)
    other = scores(texts, seed=2)["greedy"]["news"]["coherence"]
    assert other["low"] != scores(texts)["greedy"]["news"]["coherence"]["low"]


def test_a_metric_that_is_switched_off_leaves_no_column(texts):
    assert "perplexity" not in score_table(texts, context(text_perplexity=False))
    assert "perplexity" not in scores(texts, text_perplexity=False)["greedy"]["news"]


def test_texts_without_ngrams_have_no_repetition():
    texts = {("greedy", "news"): [row("n1", "so short", 1.0)] * 2}
    table = score_table(texts, context())
    assert table["rep_2"].isna().all() and (table[COUNTS[0]] == 0).all()
    found = scores(texts)["greedy"]["news"]
    assert found["diversity"]["value"] == 0 and "rep_2" not in found


def test_one_infinite_perplexity_makes_that_of_the_corpus_infinite(texts):
    texts["greedy", "news"][1]["nll"] = 1000.0
    found = scores(texts)
    assert found["greedy"]["news"]["perplexity"] == {"value": math.inf, "low": None, "high": None, "n": 3}
    assert math.isfinite(found["greedy-acd"]["news"]["perplexity"]["high"])


def test_a_corpus_metric_has_a_value_and_no_interval(texts):
    given = {"mauve": {("greedy", "news"): 0.5}}
    found = aggregate(score_table(texts, context(mauve=True)), given, OPTIONS | {"mauve": True})
    assert found["greedy"]["news"]["mauve"] == {"value": 0.5, "low": None, "high": None, "n": 3}
    assert "mauve" not in found[HUMAN]["news"]
    assert corpus_values(texts, context()) == {}


def test_human_texts_get_their_likelihood_from_the_scored_model(texts):
    for text in texts[HUMAN, "news"]:
        del text["nll"]
    given = context()
    asked = []
    given.with_likelihood = lambda domain, rows: asked.append(domain) or [{**row, "nll": 0.5} for row in rows]
    table = score_table(texts, given)
    assert asked == ["news"]
    assert table["perplexity"][6:].tolist() == pytest.approx([math.exp(0.5)] * 3)
    assert table["perplexity"][0] == pytest.approx(math.exp(1.0))


def test_the_value_of_a_metric_comes_from_its_documents(texts):
    """What a comparison of two runs recomputes from per_prompt.csv is what the score stage has written."""
    table, found = score_table(texts, context()), scores(texts)
    checked = 0
    for metric in text_metrics().values():
        for (setting, domain), rows in table.groupby(["setting", "domain"]):
            documents = metric.documents(pd.DataFrame(rows))
            if documents is not None and metric.key in found[setting][domain]:
                assert metric.value(documents.to_numpy()) == pytest.approx(found[setting][domain][metric.key]["value"])
                checked += 1
    by_document = [metric for metric in text_metrics().values() if metric.columns]
    assert checked == 3 * len(by_document) - 2  # `changed` is scored with contrast only


def test_texts_of_one_document_are_resampled_together():
    """Every text three times, as of one document, has the intervals of each text once."""
    story = [row(f"n{i}", "one two three four " + "so " * i, 1.0 + i / 5) for i in range(8)]
    thrice = [{**text, "id": f"{text['id']}-{k}", "document": text["id"]} for text in story for k in range(3)]
    once, found = (scores({("greedy", "news"): rows})["greedy"]["news"] for rows in (story, thrice))
    for metric in once:
        assert [found[metric][key] for key in ("value", "low", "high")] == pytest.approx(
            [once[metric][key] for key in ("value", "low", "high")]
        )
        assert (once[metric]["n"], found[metric]["n"]) == (8, 24)
