"""Arguments that can't be right end in a message that names them, and never in an error from inside."""

import numpy as np
import pytest
import torch
from transformers import AutoConfig, BertConfig, BertModel, GPT2Model

from autocontrastive_gen.contrast_calculation import calculate_contrasted_logits
from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration
from tests.modeling.conftest import MODES, tiny_ids, tiny_model, tiny_plain

VOCABULARY, WINDOW = 96, 64
IDS = {
    "no token": (torch.zeros(1, 0, dtype=torch.int64), "there is no token"),
    "no prompt": (torch.zeros(0, 3, dtype=torch.int64), "there is no token"),
    "beyond the window": (
        torch.zeros(1, WINDOW + 1, dtype=torch.int64),
        f"more than the model's {WINDOW} positions",
    ),
    "beyond the vocabulary": (
        torch.full((1, 3), VOCABULARY),
        f"{VOCABULARY} is not in the model's vocabulary, 0 to",
    ),
    "negative": (torch.full((1, 3), -1), "-1 is not in the model's vocabulary"),
    "no whole numbers": (torch.ones(1, 3), "token ids are whole numbers"),
    "one dimension": (torch.ones(3, dtype=torch.int64), "two dimensions"),
    "text": ("humpty dumpty", "give a tensor of token ids, got a str; encode text"),
}


@pytest.fixture(scope="module")
def model():
    model = tiny_model(MODES[1], contrast_layer_indices=("original", 2))
    assert model.get_input_embeddings().num_embeddings == VOCABULARY
    assert model.config.max_position_embeddings == WINDOW
    return model


@pytest.mark.parametrize("case", IDS)
@pytest.mark.parametrize("call", ["generate", "forward"])
def test_prompts_that_are_wrong_are_refused(model, call, case):
    ids, message = IDS[case]
    with pytest.raises(ValueError, match=message):
        model.generate(ids, max_new_tokens=2) if call == "generate" else model(ids)


def test_a_continuation_beyond_the_window_is_refused(model):
    with pytest.raises(ValueError, match=f"tokens, new ones included, are more than the model's {WINDOW} positions"):
        model.generate(torch.zeros(1, WINDOW - 1, dtype=torch.int64), max_new_tokens=4)


def test_other_arguments_of_forward(model):
    with pytest.raises(ValueError, match="the model's embeddings have width"):
        model(inputs_embeds=torch.ones(1, 3, 7))
    with pytest.raises(ValueError, match="labels: 99 is beyond the model's vocabulary"):
        model(tiny_ids(), labels=torch.full_like(tiny_ids(), 99))


def test_a_fault_of_the_program_keeps_its_traceback(model, monkeypatch):
    def broken(*args):
        raise RuntimeError("a bug")

    monkeypatch.setattr(type(model), "_run_trunk", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        model.generate(tiny_ids(), max_new_tokens=2)


FLOATS = torch.randn(2, 3, 9)
LOGITS = {
    "another width": (FLOATS, FLOATS[..., :5], "must have one shape"),
    "another batch": (FLOATS, FLOATS[:1], "must have one shape"),
    "complex": (FLOATS.to(torch.complex64), FLOATS, "float tensor .* got torch.complex64"),
    "whole numbers": (FLOATS.long(), FLOATS.long(), "float tensor .* got torch.int64"),
    "booleans": (FLOATS > 0, FLOATS > 0, "float tensor .* got torch.bool"),
    "no token": (FLOATS[..., :0], FLOATS[..., :0], "at least one token"),
    "no dimension": (torch.tensor(1.0), torch.tensor(1.0), "at least one token"),
    "a list": ([1.0], [2.0], "got list"),
    "an array": (np.ones(3), np.ones(3), "got ndarray"),
    "None": (None, None, "got NoneType"),
}


@pytest.mark.parametrize("case", LOGITS)
def test_logits_that_are_wrong_are_refused(case):
    upper, lower, message = LOGITS[case]
    with pytest.raises(ValueError, match=message):
        calculate_contrasted_logits(upper, lower)


def test_models_that_can_have_no_exits_are_refused():
    casts = MultiExitConfiguration("SHARED_PROJECTION_CAST_OUTPUTS", (1,))
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    with pytest.raises(ValueError, match="BertModel has no output matrix; load it with AutoModelForCausalLM"):
        AutoMultiExitModel.from_model(BertModel(BertConfig(vocab_size=30, **sizes)), casts)
    with pytest.raises(ValueError, match="GPT2Model has no output matrix; load it with AutoModelForCausalLM"):
        AutoMultiExitModel.from_model(GPT2Model(tiny_plain().config), casts)
    for source in (None, 7):
        with pytest.raises(TypeError, match="from_pretrained takes a folder or a name on the hub"):
            AutoMultiExitModel.from_pretrained(source)


def test_a_model_that_is_refused_stays_as_it_was():
    plain = tiny_plain()
    before = AutoConfig.for_model(**plain.config.to_dict()).to_dict()
    with pytest.raises(ValueError, match="the model has layers 1 to 4"):
        AutoMultiExitModel.from_model(plain, MultiExitConfiguration("SHARED_PROJECTION_CAST_OUTPUTS", (9,)))
    after = plain.config.to_dict()
    assert {key: after.get(key) for key in before} == before
    assert (after.get("lm_head_layer_indices"), after.get("vocab_projection_mode")) == (None, None)
