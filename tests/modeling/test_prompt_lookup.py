"""Prompt lookup of transformers drafts from the text itself, and the tokens stay the same under every contrast."""

from dataclasses import fields

import pytest
import torch

from autocontrastive_gen.modeling.method import METHODS
from benchmarks import prompt_lookup
from tests.modeling.conftest import MODES, tiny_model

NEW_TOKENS = 24
CONTRASTS = [
    {"name": name, **layers}
    for name in METHODS
    for layers in ({}, {"layers": "all"})
    if not layers or any(field.name == "layers" for field in fields(METHODS[name]))
]


def greedy(model, ids, **options):
    """The text (1, T) of greedy search, and the number of tokens that each pass read."""
    widths = []

    hook = model.get_input_embeddings().register_forward_pre_hook(lambda _, args: widths.append(args[0].shape[1]))
    tokens = model.generate(ids, max_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=None, **options)
    hook.remove()
    return tokens, widths


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("upper", ["original", 3])
@pytest.mark.parametrize("contrast", CONTRASTS, ids=str)
def test_tokens_stay_the_same(contrast, upper, family):
    model = tiny_model(MODES[1], family, contrast_layer_indices=(upper, 2), contrast_function=contrast)
    ids = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6] * 3])
    expected, alone = greedy(model, ids)
    found, looked_up = greedy(model, ids, prompt_lookup_num_tokens=4, max_matching_ngram_size=1)
    assert found.equal(expected)
    assert alone[1:] == [1] * (NEW_TOKENS - 1)
    assert max(looked_up[1:]) > 1, "drafts were to be verified"
    assert len(looked_up) <= NEW_TOKENS


def test_the_benchmark_counts_passes():
    model = tiny_model(MODES[1])
    prompts = [torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6] * 3]), torch.tensor([[2, 7, 1, 8] * 4])]
    found = list(prompt_lookup.rows(model, prompts, lower=2, tokens=NEW_TOKENS, drafts=4))
    assert [row[0] for row in found] == ["plain", *sorted(METHODS)]
    assert all(1 <= float(tokens) <= 5 and same == "yes" for _, tokens, same in found)
    assert prompt_lookup.passes(model, prompts[0], NEW_TOKENS, None)[1] == NEW_TOKENS
