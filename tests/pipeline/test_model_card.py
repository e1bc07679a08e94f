"""The rule that chooses the lower layer, the layers of every setting, and the model card."""

import numpy as np
import pytest

from autocontrastive_gen.evaluation.lower_layer import _paired_error, choose, score_candidates
from autocontrastive_gen.experiment.resolution import lower_layer, resolved_settings
from autocontrastive_gen.experiment.settings import all_settings
from autocontrastive_gen.pipeline.cell_model import exit_fields
from autocontrastive_gen.pipeline.model_card import model_card

SCORES = {
    "plain": {"diversity": 0.2, "coherence": 0.50},
    "15": {"diversity": 0.4, "coherence": 0.49},
    "20": {"diversity": 0.6, "coherence": 0.47},
    "25": {"diversity": 0.5, "coherence": 0.52},
}
DIGESTS = {15: "a", 20: "b", 25: "c"}


def model(**changes):
    entry = {"exits": [15, 20, 25], "upper": "original", "lower": "auto", "mode": "SHARED_PROJECTION_DIRECT"}
    return {**entry, "note": "A note.", **changes}


def test_the_most_diverse_layer_that_keeps_coherence_wins():
    assert choose(SCORES, below=30, margin=0.02) == 25
    assert choose(SCORES, below=30, margin=0.05) == 20
    assert choose(SCORES, below=25, margin=0.02) == 15


def test_without_a_coherent_layer_the_most_coherent_is_taken():
    scores = {**SCORES, "plain": {"diversity": 0.2, "coherence": 0.9}}
    assert choose(scores, below=30, margin=0.02) == 25
    assert choose(scores, below=15, margin=0.02) is None


def test_every_setting_that_can_run_names_its_layers_and_their_weights():
    resolved = dict(resolved_settings(model(), 30, SCORES, 0.02, DIGESTS))
    assert resolved["greedy"] == {"upper": "original", "lower": None, "exits": {}}
    assert resolved["beam-acd"] == {"upper": "original", "lower": 25, "exits": {"25": "c"}}
    assert resolved["top-p-exit25-acd"] == {"upper": 25, "lower": 15, "exits": {"25": "c", "15": "a"}}
    assert resolved["top-k-acd20"] == {"upper": "original", "lower": 20, "exits": {"20": "b"}}
    assert resolved["exit20"] == {"upper": 20, "lower": None, "exits": {"20": "b"}}
    assert resolved["acd"]["lower"] == 25
    impossible = {f"{decode}-exit15-acd" for decode in ("greedy", "beam", "top-k", "top-p")}
    assert {setting.name for setting in all_settings((15, 20, 25))} - set(resolved) == impossible


def test_the_upper_exit_of_the_model_is_that_of_settings_without_one():
    resolved = dict(resolved_settings(model(upper=25, lower=15), 30, {}, 0.0, DIGESTS))
    assert resolved["greedy"] == {"upper": 25, "lower": None, "exits": {"25": "c"}}
    assert resolved["greedy-acd"]["exits"] == {"25": "c", "15": "a"}
    assert resolved["original"] == {"upper": "original", "lower": None, "exits": {}}
    assert "greedy-acd25" not in resolved


def test_halfway_is_the_papers_layer_and_must_carry_an_exit():
    assert lower_layer(model(lower="halfway"), "original", 30, {}, 0.0) == 15
    assert lower_layer(model(lower="halfway"), "original", 31, {}, 0.0) == 15
    with pytest.raises(ValueError, match="lower = halfway: layer 12 of 24 carries no exit"):
        lower_layer(model(lower="halfway"), "original", 24, {}, 0.0)


def test_fields_of_a_plain_exit_and_of_a_contrast():
    from autocontrastive_gen.modeling.configuration import MultiExitConfiguration

    contrast = {"name": "acd", "alpha": 0.2, "minimum_candidates": 2}
    names = [
        MultiExitConfiguration(
            **exit_fields(dict(zip(("upper", "lower"), pair, strict=True)), contrast)
        ).get_description()
        for pair in (("original", None), (25, None), ("original", 15), (25, 15))
    ]
    assert names == ["original_head", "layer_25", "original_vs_15", "25_vs_15"]


class Encoder:
    def encode(self, texts, **_):
        import numpy as np

        return np.array([[len(text), 1 + text.count("a")] for text in texts], dtype=float)


def test_candidates_are_scored_and_the_models_setting_comes_back(smoke_model_folder):
    from transformers import AutoTokenizer

    from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
    from autocontrastive_gen.modeling.configuration import MultiExitConfiguration

    configuration = MultiExitConfiguration("SHARED_PROJECTION_DIRECT", (2, 4))
    gpt2 = AutoMultiExitModel.from_pretrained(smoke_model_folder, multi_exit_config=configuration)
    tokenizer = AutoTokenizer.from_pretrained(smoke_model_folder)
    prompts = {name: [{"id": f"{name}-{i}", "prompt": "the cat sat on"} for i in range(2)] for name in ("x", "y")}
    options = {"upper": "original", "contrast": {"name": "acd"}, "new_tokens": 12, "seed": 1}
    scores = score_candidates(gpt2, tokenizer, Encoder(), prompts, [2, 4], **options)
    assert set(scores) == {"plain", "2", "4"}
    assert all(0 <= row["diversity"] <= 1 and -1 <= row["coherence"] <= 1 for row in scores.values())
    assert gpt2.multi_exit_config.use_original_head
    assert "coherence_error" not in scores["plain"] and scores["2"]["coherence_error"] >= 0


def test_the_error_of_coherence_is_that_of_paired_differences():
    plain = [np.array([0.1, 0.5, 0.9]), np.array([0.2, 0.8])]
    same, other = [values + 0.05 for values in plain], [np.array([0.2, 0.5, 0.9]), plain[1]]
    assert _paired_error(same, plain) == pytest.approx(0, abs=1e-12)
    assert _paired_error(other, plain) == pytest.approx(np.std([0.1, 0, 0], ddof=1) / 3**0.5 / 2)


def test_the_card_says_how_the_exits_were_made_and_how_good_they_are():
    quality = {"news": {"15": {"perplexity": 123.4, "agreement": 0.5, "entropy": 2.0, "tokens": 100}}}
    plan = {"model": model(), "method": "least-squares", "start": "cast", "sampled_softmax": None, "tokens": 9}
    card = model_card("smollm2", plan, 30, quality)
    assert "| news | 15 | 123.4 | 0.500 | 2.000 | 100 |" in card and "| method | least-squares |" in card
    assert "only measured" in model_card("smollm2", {**plan, "method": "none"}, 30, quality)
    assert "\nlicense: other\n" in card and "its licence (not stated)" in card
    card = model_card("smollm2", plan, 30, quality, "Apache-2.0", 8)
    assert "| tokens | 8 (at most 9) |" in card
    assert "\nlicense: apache-2.0\n" in card and "its licence (Apache-2.0)" in card
