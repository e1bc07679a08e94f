"""From rows to the table by prompt and to metrics with intervals."""

import math

import numpy as np
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from autocontrastive_gen.evaluation import metrics
from autocontrastive_gen.evaluation.metrics import COUNTS, diversity
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.pipeline import score_cell
from autocontrastive_gen.pipeline.score_cell import COLUMNS, aggregate, human_rows, per_prompt

BOOTSTRAP = {"samples": 200, "level": 0.9}


class Encoder:
    def encode(self, texts, **_):
        return np.array([[1.0, len(text)] for text in texts])


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
        ("human", "news"): [row("n1", story, 2.5), row("n2", story, 2.5), row("n3", "short", 2.5)],
    }


def test_table_and_aggregate(texts):
    table = per_prompt(texts, Encoder(), with_perplexity=True)
    assert [(r["setting"], r["id"]) for r in table] == [(s, f"n{i}") for (s, _) in texts for i in (1, 2, 3)]
    assert set(table[0]) == set(COLUMNS)
    assert [r["changed"] for r in table[3:6]] == [0.1, 0.3, 0.5] and table[0]["changed"] is None
    found = aggregate(table, BOOTSTRAP, seed=1, similarity={("greedy", "news"): 0.5})
    greedy = found["greedy"]["news"]
    assert greedy["diversity"]["value"] == diversity([r["continuation"] for r in texts["greedy", "news"]])
    assert greedy["diversity"]["low"] <= greedy["diversity"]["value"] <= greedy["diversity"]["high"]
    assert greedy["perplexity"]["value"] == pytest.approx(math.exp(2.0))
    unique, total = (sum(r[f"{kind}_2"] for r in table[:3]) for kind in ("unique", "total"))
    assert greedy["rep_2"]["value"] == pytest.approx(100 * (1 - unique / total))
    assert greedy["mauve"] == {"value": 0.5, "low": None, "high": None, "n": 3}
    assert "changed" not in greedy and found["greedy-acd"]["news"]["changed"]["value"] == pytest.approx(0.3)
    assert {entry["n"] for entry in found["human"]["news"].values()} == {3}
    assert found == aggregate(table, BOOTSTRAP, seed=1, similarity={("greedy", "news"): 0.5})
    assert aggregate(table, BOOTSTRAP, 2, {})["greedy"]["news"]["coherence"] != greedy["coherence"]


def test_texts_without_ngrams_have_no_repetition(texts):
    table = per_prompt({("greedy", "news"): [row("n1", "so short", 1.0)] * 2}, Encoder(), with_perplexity=False)
    assert table[0]["rep_2"] is None and table[0]["perplexity"] is None and table[0][COUNTS[0]] == 0
    found = aggregate(table, BOOTSTRAP, 1, {})["greedy"]["news"]
    assert found["diversity"]["value"] == 0 and not {"rep_2", "perplexity"} & set(found)


def test_human_texts_are_cut_to_the_generated_length(smoke_model_folder):
    tokenizer = AutoTokenizer.from_pretrained(smoke_model_folder)
    prompts = [{"id": "a", "prompt": "In winter", "human": "the people of Holkeswick sell wool near the lantern"}]
    (found,) = human_rows(tokenizer, prompts, 5)
    assert len(found["tokens"]) == 5
    assert found["continuation"] == tokenizer.decode(found["tokens"])
    assert (" " + prompts[0]["human"]).startswith(found["continuation"])


def test_mauve_compares_with_the_human_texts_by_the_named_model(texts, project, smoke_model_folder, monkeypatch):
    seen = []

    def mauve(machine, human, seed):
        seen.append((machine, human, seed))
        return 0.5

    monkeypatch.setattr(metrics, "mauve", mauve)
    other = Paths("smoke").asset("other")
    other.parent.mkdir(parents=True)
    other.symlink_to(smoke_model_folder)
    own = AutoModelForCausalLM.from_pretrained(smoke_model_folder), AutoTokenizer.from_pretrained(smoke_model_folder)
    plan = {"domains": ["news"], "seed": 3, "mauve_features": None}
    assert score_cell._feature_model(*own, plan, Paths("smoke")) == own
    named = score_cell._feature_model(*own, plan | {"mauve_features": {"asset": "other"}}, Paths("smoke"))
    assert named[0] is not own[0]
    found = score_cell._mauve(*named, texts, plan)
    assert found == {("greedy", "news"): 0.5, ("greedy-acd", "news"): 0.5}
    human = metrics.last_states(*own, [f"p {row['continuation']}" for row in texts["human", "news"]])
    for machine, against, seed in seen:
        assert np.allclose(against, human, atol=1e-5) and machine.shape == human.shape and seed == 3
    assert not np.allclose(seen[0][0], seen[1][0])
