"""Every decoder on extreme scores, one-token prompts, the window's edge, 16-bit models and large batches."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GPT2Config, GPT2LMHeadModel

from autocontrastive_gen.generation.decode import continue_batch
from autocontrastive_gen.generation.decoder import DECODERS, Sampler
from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration
from autocontrastive_gen.modeling.method import METHODS
from tests.stress import DTYPES, STRESSES

WINDOW, TOKENS = 12, 60
PARAMETERS = {"beam": {"num_beams": 3}, "top-k": {"top_k": 7}, "top-p": {"top_p": 0.5}, "typical": {"typical_p": 0.5}}
PENALTIES = {"repetition_penalty": 1.5, "no_repeat_ngram_size": 2}
FEW_POSSIBLE = ("cd", "delta", "dola")
"""Contrasts that leave some tokens possible and no others: forbidding these would leave none."""
CASES = [
    pytest.param(contrast, penalties, marks=[] if contrast == "acd" else pytest.mark.slow)
    for contrast in METHODS
    for penalties in ({}, PENALTIES)
    if not (penalties and contrast in FEW_POSSIBLE)
]


def name_of(decoder):
    return decoder.name


def decoders():
    return [DECODERS.build(name, PARAMETERS.get(name, {})) for name in DECODERS]


@pytest.mark.parametrize("stress", STRESSES, ids=lambda stress: stress.__name__)
@pytest.mark.parametrize("decoder", [decoder for decoder in decoders() if isinstance(decoder, Sampler)], ids=name_of)
@settings(max_examples=3, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 4), size=st.sampled_from([1, 2, 256, 4000]))
def test_samplers_leave_a_possible_token_and_no_nan(decoder, stress, seed, rows, size):
    (scores,) = stress((1, rows, size), torch.Generator().manual_seed(seed))
    names = [f"prompt {i}" for i in range(rows)]

    def processed(some):
        found = scores[some].clone()
        for processor in decoder.processors([names[i] for i in some], seed):
            found = processor(torch.zeros(len(some), 1, dtype=torch.long), found)
        return found

    found = processed(range(rows))
    assert not found.isnan().any() and found.shape == scores.shape
    assert (scores.gather(1, found.argmax(-1, keepdim=True)) > -torch.inf).all()
    assert torch.equal(torch.cat([processed([i]) for i in range(rows)]), found)


def tiny(vocabulary=TOKENS, sharpness=1.0):
    """A random model of a short window, whose logits are ``sharpness`` times as large."""
    torch.manual_seed(0)
    config = GPT2Config(
        n_layer=4, n_embd=16, n_head=2, n_positions=WINDOW, vocab_size=vocabulary, bos_token_id=0, eos_token_id=0,
        initializer_range=0.3,
    )  # fmt: skip
    model = AutoMultiExitModel.from_model(
        GPT2LMHeadModel(config).eval(), MultiExitConfiguration("SHARED_PROJECTION_DIRECT", (1, 2, 3))
    )
    model.transformer.ln_f.weight.data.mul_(sharpness)
    return model


def set_to(model, contrast):
    return model.set_exits(contrast_layer_indices=("original", 2), contrast_function=contrast)


def first_tokens(rows, vocabulary=TOKENS):
    return torch.randint(1, vocabulary, (rows, 1), generator=torch.Generator().manual_seed(1))


def continued(model, ids, decoder, names=None):
    """What follows one-token prompts up to the window's edge."""
    names = names or [f"prompt {i}" for i in range(len(ids))]
    found = continue_batch(model, ids, torch.ones_like(ids), decoder, names, WINDOW - 1, seed=5)
    assert found.shape == (len(ids), WINDOW - 1)
    assert ((found > 0) & (found < model.config.vocab_size)).all()  # the end of text, 0, is suppressed
    return found


def assert_the_batch_changes_nothing(model, ids, decoder, rows):
    together = continued(model, ids, decoder)
    for row in rows:
        assert torch.equal(continued(model, ids[row : row + 1], decoder, [f"prompt {row}"])[0], together[row])


@pytest.mark.parametrize(("contrast", "penalties"), CASES)
@pytest.mark.parametrize("name", list(DECODERS))
def test_from_one_token_to_the_windows_edge_alone_and_in_a_batch(name, contrast, penalties):
    model = tiny()
    decoder = DECODERS.build(name, {**PARAMETERS.get(name, {}), **penalties})
    with set_to(model, contrast):
        assert_the_batch_changes_nothing(model, first_tokens(3), decoder, range(3))


@pytest.mark.parametrize("decoder", decoders(), ids=name_of)
@pytest.mark.parametrize("sharpness", [1e-3, 1e3], ids=["hardly a difference", "logits of thousands"])
def test_flat_and_sharp_models(decoder, sharpness):
    model = tiny(sharpness=sharpness)
    with set_to(model, "acd"):
        assert_the_batch_changes_nothing(model, first_tokens(2), decoder, range(2))


@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@pytest.mark.parametrize("decoder", decoders(), ids=name_of)
def test_models_in_16_bits(decoder, dtype):
    model = tiny().to(dtype)
    with set_to(model, "acd"):
        continued(model, first_tokens(2), decoder)


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "vocabulary"), [(512, 256), (8, 32_000), (1, 256_000)])
@pytest.mark.parametrize("decoder", decoders(), ids=name_of)
def test_large_batches_and_vocabularies(decoder, batch, vocabulary):
    model = tiny(vocabulary)
    with set_to(model, "acd"):
        assert_the_batch_changes_nothing(model, first_tokens(batch, vocabulary), decoder, {0, batch - 1})
