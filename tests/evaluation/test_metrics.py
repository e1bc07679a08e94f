"""Scores against definitions written out by hand."""

import math
import os
import sys

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, BertConfig, BertModel

from autocontrastive_gen.evaluation.encoders import last_states, load_encoder
from autocontrastive_gen.evaluation.metrics.coherence import coherence
from autocontrastive_gen.evaluation.metrics.diversity import diversity, diversity_per_text
from autocontrastive_gen.evaluation.metrics.mauve import mauve
from autocontrastive_gen.evaluation.metrics.ngrams import ngram_counts, repetition


def test_counts_leave_the_last_ngram_of_a_text_out():
    # 2-grams: ab bc ca ab (bd is left out); 3-grams: abc bca cab (abd); 4-grams: abca bcab (cabd)
    assert ngram_counts(" a b c a b d\n") == (3, 4, 3, 3, 2, 2)
    assert ngram_counts("a b") == (0, 0, 0, 0, 0, 0)
    assert ngram_counts("") == (0, 0, 0, 0, 0, 0)


def by_script(texts):
    """rep-n as SimCTG's published script defines them: per cent, rounded to 2 decimals."""
    product = 1.0
    for n in (2, 3, 4):
        unique = total = 0
        for text in texts:
            words, seen, end = text.strip().split(), set(), n
            while end < len(words):
                seen.add(" ".join(words[end - n : end]))
                total += 1
                end += 1
            unique += len(seen)
        product *= 1 - round((1 - unique / total) * 100, 2) / 100
    return product


def test_diversity_is_pooled_over_texts():
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.choice(list("abcdef"), size)) for size in (7, 20, 33)]
    assert diversity(texts) == pytest.approx(by_script(texts), abs=1e-12)
    assert diversity_per_text(texts) == pytest.approx([by_script([text]) for text in texts], abs=1e-12)
    # the same n-grams in two texts are no repetition
    assert diversity(["a b c d e f g"] * 5) == 1.0
    assert diversity(["too short"]) == 0.0 and diversity_per_text(["too short"]) == [0.0]


def test_repetition_is_a_fraction():
    assert repetition((3, 4, 3, 3, 1, 2)) == (0.25, 0.0, 0.5)
    assert repetition((0, 0, 0, 0, 0, 0)) is None


def test_coherence_is_the_cosine_of_each_pair():
    vectors = {"p": [1.0, 0.0], "q": [0.0, 2.0], "x": [3.0, 3.0], "y": [0.0, -1.0], "": [0.0, 0.0]}

    class Encoder:
        def encode(self, texts, **_):
            return np.array([vectors[text] for text in texts], dtype=np.float32)

    found = coherence(Encoder(), ["p", "q", "p"], ["x", "y", ""])
    assert found == pytest.approx([math.sqrt(0.5), -1.0, 0.0])


def test_plain_encoders_are_read_as_simcse(tmp_path, smoke_model_folder):
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(smoke_model_folder)
    tokenizer.save_pretrained(tmp_path)
    size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    bert = BertModel(BertConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **size)).eval()
    bert.save_pretrained(tmp_path)
    encoder = load_encoder(tmp_path)
    texts = ["The road from Holkeswick follows the Torhol", "wool"]
    with torch.no_grad():
        expected = [bert(**tokenizer(text, return_tensors="pt")).pooler_output[0].numpy() for text in texts]
    assert np.allclose(encoder.encode(texts), expected, atol=1e-5)


def test_sentence_transformers_folders_are_read_as_such(root):
    encoder = load_encoder(root / "tests/fixtures/smoke/encoder")
    assert encoder.encode(["a text", "another"]).shape[0] == 2


@pytest.fixture
def causal(smoke_model_folder):
    model = AutoModelForCausalLM.from_pretrained(smoke_model_folder).eval()
    return model, AutoTokenizer.from_pretrained(smoke_model_folder)


def test_features_of_texts_do_not_hang_on_padding(causal):
    model, tokenizer = causal
    texts = ["The road from Holkeswick follows the Torhol", "wool", "In winter the people sell wool " * 60, "the clock"]
    together = last_states(model, tokenizer, texts, batch_size=4)
    assert together.shape == (4, model.config.hidden_size)
    room = model.config.max_position_embeddings
    for text, found in zip(texts, together, strict=True):
        ids = tokenizer(text, return_tensors="pt").input_ids[:, :room]  # the third text is cut
        with torch.no_grad():
            expected = model(ids, output_hidden_states=True).hidden_states[-1][0, -1]
        assert np.allclose(found, expected, atol=1e-5)


@pytest.fixture
def real_mauve():
    """mauve-text is an extra; where CI is set, it must be there."""
    if not os.environ.get("CI"):
        pytest.importorskip("mauve", reason="needs the extra `mauve`")


def test_mauve_tells_like_texts_from_unlike_ones(causal, real_mauve):
    generator = np.random.default_rng(0)
    words = "the people of Holkeswick sell wool near lantern clock river in winter and then boat market".split()
    stories = [" ".join(generator.choice(words, 12)) for _ in range(80)]
    loops = [" ".join(["wool"] * count) for count in range(8, 48)]
    human, like, unlike = (last_states(*causal, texts) for texts in (stories[:40], stories[40:], loops))
    assert mauve(like, human, seed=1) > 0.9 > 0.5 > mauve(unlike, human, seed=1)
    assert mauve(unlike, human, seed=1) == mauve(unlike, human, seed=1)


def test_mauve_without_its_extra_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mauve", None)
    with pytest.raises(ValueError, match="score.mauve: true needs mauve-text; install the extra `mauve`"):
        mauve(np.zeros((2, 2)), np.zeros((2, 2)), seed=0)
