"""The rule that chooses the lower layer, and what it measures of the candidates."""

import numpy as np
import pytest

from autocontrastive_gen.pipeline import lower_layer
from autocontrastive_gen.pipeline.cell_model import exit_fields
from autocontrastive_gen.pipeline.lower_layer import choose, score_candidates

SCORES = {
    "plain": {"diversity": 0.2, "coherence": 0.50},
    "15": {"diversity": 0.4, "coherence": 0.49},
    "20": {"diversity": 0.6, "coherence": 0.47},
    "25": {"diversity": 0.5, "coherence": 0.52},
}


def test_the_most_diverse_layer_that_keeps_coherence_wins():
    assert choose(SCORES, below=30, margin=0.02) == 25
    assert choose(SCORES, below=30, margin=0.05) == 20
    assert choose(SCORES, below=25, margin=0.02) == 15


def test_without_a_coherent_layer_the_most_coherent_is_taken():
    scores = {**SCORES, "plain": {"diversity": 0.2, "coherence": 0.9}}
    assert choose(scores, below=30, margin=0.02) == 25
    assert choose(scores, below=15, margin=0.02) is None


class Encoder:
    def encode(self, texts, **_):
        return np.array([[len(text), 1 + text.count("a")] for text in texts], dtype=float)


def test_candidates_are_scored_and_the_models_setting_comes_back(smoke_model_folder):
    from transformers import AutoTokenizer

    from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
    from autocontrastive_gen.modeling.configuration import MultiExitConfiguration

    configuration = MultiExitConfiguration("SHARED_PROJECTION_DIRECT", (2, 4))
    gpt2 = AutoMultiExitModel.from_pretrained(smoke_model_folder, multi_exit_config=configuration)
    tokenizer = AutoTokenizer.from_pretrained(smoke_model_folder)
    prompts = {name: [{"id": f"{name}-{i}", "prompt": "the cat sat on"} for i in range(2)] for name in ("x", "y")}
    entry = {"method": "acd"}

    def fields(lower):
        return exit_fields({"upper": "original", "lower": lower}, entry if lower else None)

    scores = score_candidates(gpt2, tokenizer, Encoder(), prompts, [2, 4], fields, new_tokens=12, seed=1)
    assert set(scores) == {"plain", "2", "4"}
    assert all(0 <= row["diversity"] <= 1 and -1 <= row["coherence"] <= 1 for row in scores.values())
    assert gpt2.multi_exit_config.use_original_head
    assert "coherence_error" not in scores["plain"] and scores["2"]["coherence_error"] >= 0


def test_the_error_of_coherence_is_that_of_paired_differences():
    plain = [np.array([0.1, 0.5, 0.9]), np.array([0.2, 0.8])]
    same, other = [values + 0.05 for values in plain], [np.array([0.2, 0.5, 0.9]), plain[1]]
    assert lower_layer._paired_error(same, plain) == pytest.approx(0, abs=1e-12)
    assert lower_layer._paired_error(other, plain) == pytest.approx(np.std([0.1, 0, 0], ddof=1) / 3**0.5 / 2)
