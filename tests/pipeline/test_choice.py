"""The rule of the choice, and what it measures of the candidates."""

import numpy as np
import pytest

from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration
from autocontrastive_gen.pipeline.cell_model import exit_fields
from autocontrastive_gen.pipeline.choice import choose, paired_error, score_exits, summary

PLAIN = {"diversity": 0.2, "coherence": 0.50}
CANDIDATES = [
    {"lower": 15, "diversity": 0.4, "coherence": 0.49},
    {"lower": 20, "diversity": 0.6, "coherence": 0.47},
    {"lower": 25, "diversity": 0.5, "coherence": 0.52},
]


def test_the_most_diverse_candidate_that_keeps_coherence_wins():
    assert choose(PLAIN, CANDIDATES, margin=0.02)["lower"] == 25
    assert choose(PLAIN, CANDIDATES, margin=0.05)["lower"] == 20
    assert choose(PLAIN, CANDIDATES[:2], margin=0.02)["lower"] == 15


def test_without_a_coherent_candidate_the_most_coherent_is_taken():
    assert choose({"diversity": 0.2, "coherence": 0.9}, CANDIDATES, margin=0.02)["lower"] == 25
    assert choose(PLAIN, [], margin=0.02) is None


def test_of_equal_candidates_the_highest_layer_and_the_first_value_win():
    equal = [
        {"lower": lower, "parameters": {"alpha": alpha}, "diversity": 0.5, "coherence": 0.5}
        for alpha in (0.3, 0.1)
        for lower in (None, 15, 25)
    ]
    assert choose(PLAIN, equal, margin=0.02) is equal[2]


class Encoder:
    def encode(self, texts, **_):
        return np.array([[len(text), 1 + text.count("a")] for text in texts], dtype=float)


def test_exits_are_scored_by_domain_and_the_models_setting_comes_back(smoke_model_folder):
    from transformers import AutoTokenizer

    configuration = MultiExitConfiguration("SHARED_PROJECTION_DIRECT", (2, 4))
    gpt2 = AutoMultiExitModel.from_pretrained(smoke_model_folder, multi_exit_config=configuration)
    tokenizer = AutoTokenizer.from_pretrained(smoke_model_folder)
    prompts = {name: [{"id": f"{name}-{i}", "prompt": "the cat sat on"} for i in range(2)] for name in ("x", "y")}
    with gpt2.set_exits(**exit_fields({"upper": "original", "lower": 2, "contrast": {"method": "acd"}})):
        scores = score_exits(gpt2, tokenizer, Encoder(), prompts, new_tokens=12, seed=1)
    assert len(scores["diversity"]) == 2 and [len(values) for values in scores["coherence"]] == [2, 2]
    found = summary(scores, scores)
    assert 0 <= found["diversity"] <= 1 and -1 <= found["coherence"] <= 1 and found["coherence_error"] == 0
    assert gpt2.multi_exit_config.use_original_head


def test_means_are_over_domains_and_the_error_is_that_of_paired_differences():
    plain = {"diversity": [0.2, 0.6], "coherence": [[0.1, 0.5, 0.9], [0.2, 0.8]], "documents": ["abc", "de"]}
    same = {**plain, "coherence": [[x + 0.05 for x in values] for values in plain["coherence"]]}
    other = {**plain, "coherence": [[0.2, 0.5, 0.9], [0.2, 0.8]]}
    alike = {**other, "documents": ["aaa", "de"]}
    assert summary(plain) == {"diversity": pytest.approx(0.4), "coherence": pytest.approx(0.5)}
    assert summary(same, plain)["coherence_error"] == pytest.approx(0, abs=1e-12)
    assert summary(other, plain)["coherence_error"] == pytest.approx(np.std([0.1, 0, 0], ddof=1) / 3**0.5 / 2)
    assert "coherence_error" not in summary(alike, plain), "one document says nothing about others"


def test_prompts_of_one_document_count_together():
    """Each prompt twice is no more than once."""
    differences = np.array([0.3, -0.1, 0.2, 0.7])
    assert paired_error(np.repeat(differences, 2), "aabbccdd") == pytest.approx(paired_error(differences, "abcd"))
