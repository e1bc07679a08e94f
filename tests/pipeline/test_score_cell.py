"""The score stage: human texts, and the models that metrics ask for."""

import numpy as np
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from autocontrastive_gen.evaluation.encoders import last_states
from autocontrastive_gen.evaluation.metrics import HUMAN, mauve
from autocontrastive_gen.evaluation.scoring_context import ScoringContext
from autocontrastive_gen.evaluation.text_scores import corpus_values
from autocontrastive_gen.pipeline.score_cell import human_rows


@pytest.fixture
def causal(smoke_model_folder):
    return (
        AutoModelForCausalLM.from_pretrained(smoke_model_folder),
        AutoTokenizer.from_pretrained(smoke_model_folder),
    )


def test_human_texts_are_cut_to_the_generated_length(smoke_model_folder):
    tokenizer = AutoTokenizer.from_pretrained(smoke_model_folder)
    prompts = [{"id": "a", "prompt": "In winter", "human": "the people of Holkeswick sell wool near the lantern"}]
    (found,) = human_rows(tokenizer, prompts, 5)
    assert len(found["tokens"]) == 5
    assert found["continuation"] == tokenizer.decode(found["tokens"])
    assert (" " + prompts[0]["human"]).startswith(found["continuation"])


@pytest.mark.parametrize("named", [None, {"asset": "other"}])
def test_mauve_compares_with_the_human_texts_by_the_named_model(causal, named, smoke_model_folder, monkeypatch):
    texts = {
        ("greedy", "news"): [{"prompt": "p", "continuation": f" wool {word}"} for word in ("clock", "boat")],
        (HUMAN, "news"): [{"prompt": "p", "continuation": f" river {word}"} for word in ("lantern", "market")],
    }
    seen, loaded = [], []

    def fake(machine, human, seed):
        seen.append((machine, human, seed))
        return 0.5

    def folder(asset):
        loaded.append(asset)
        return smoke_model_folder

    monkeypatch.setattr(mauve, "mauve", fake)
    options = {"mauve": True, "mauve_features": named, "seed": 3, "text_perplexity": False}
    context = ScoringContext(options, folder, lambda: causal)
    assert corpus_values(texts, context) == {"mauve": {("greedy", "news"): 0.5}}
    assert loaded == ([] if named is None else ["other"])
    ((machine, human, seed),) = seen
    expected = [last_states(*causal, [f"p{row['continuation']}" for row in rows]) for rows in texts.values()]
    assert np.allclose(machine, expected[0], atol=1e-5) and np.allclose(human, expected[1], atol=1e-5) and seed == 3
    assert not np.allclose(machine, human)
