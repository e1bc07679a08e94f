"""Notes on a text agree with one forward pass a text, without padding."""

import math

import pytest
import torch
from transformers import AutoModelForCausalLM

from autocontrastive_gen.generation.annotate import annotate
from autocontrastive_gen.generation.decode import generate_texts
from autocontrastive_gen.generation.decoder import DECODERS


@pytest.fixture
def rows(model, tokenizer, prompts):
    with model.set_exits(contrast_layer_indices=("original", 2)):
        return generate_texts(model, tokenizer, prompts, DECODERS.build("greedy", {}), 6, 0, 4)


def logits_after(model, tokenizer, row):
    """Logits (6, V) at the positions that predict the continuation, and the tokens before."""
    ids = tokenizer(row["prompt"])["input_ids"]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids + row["tokens"]])).logits[0].float()
    return logits[len(ids) - 1 : -1]


def test_nll_is_that_of_the_plain_model(model, tokenizer, rows, smoke_model_folder):
    plain = AutoModelForCausalLM.from_pretrained(smoke_model_folder)
    model.set_exits(contrast_layer_indices=(4, 2))
    for row, noted in zip(rows, annotate(model, tokenizer, rows, batch_size=4), strict=True):
        log_probs = logits_after(plain, tokenizer, row).log_softmax(-1)
        expected = -log_probs.gather(-1, torch.tensor(row["tokens"])[:, None]).mean()
        assert math.isclose(noted["nll"], float(expected), rel_tol=1e-4)
        assert {key: noted[key] for key in row} == row


def test_changed_tokens_and_what_the_exits_wanted(model, tokenizer, rows):
    model.set_exits(contrast_layer_indices=("original", 2))
    noted = annotate(model, tokenizer, rows, batch_size=4)
    found = 0
    for row, note in zip(rows, noted, strict=True):
        combined = logits_after(model, tokenizer, row).argmax(-1)
        assert combined.tolist() == row["tokens"]  # greedy: the contrast's first choice
        with model.set_exits():
            upper = logits_after(model, tokenizer, row).softmax(-1)
        with model.set_exits(output_layer_index=2):
            lower = logits_after(model, tokenizer, row).softmax(-1)
        positions = [i for i in range(6) if combined[i] != upper[i].argmax()]
        assert [change["position"] for change in note["changed"]] == positions
        for i, change in zip(positions, note["changed"], strict=True):
            for name, p, at in (("upper", upper[i], 0), ("lower", lower[i], 1)):
                assert change[name] == tokenizer.decode([int(p.argmax())])
                assert change[f"{name}_p"] == pytest.approx(float(p.max()), abs=2e-4)
                assert change["token_p"][at] == pytest.approx(float(p[row["tokens"][i]]), abs=2e-4)
        found += len(positions)
    assert found


def test_settings_without_contrast_change_nothing(model, tokenizer, rows):
    for fields in ({}, {"output_layer_index": 4}):
        model.set_exits(**fields)
        assert {note["changed"] for note in annotate(model, tokenizer, rows, batch_size=4)} == {None}
