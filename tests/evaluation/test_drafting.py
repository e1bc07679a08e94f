"""Exits as drafts: counts agree with drafting step by step, and costs with the weights of a step."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autocontrastive_gen.evaluation.drafting import drafting, matches_of, passes, step_costs
from autocontrastive_gen.generation.decode import generate_texts
from autocontrastive_gen.generation.decoder import DECODERS
from tests.modeling.conftest import MODES, tiny_model


@pytest.fixture
def tokenizer(smoke_model_folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(smoke_model_folder)


@pytest.fixture
def model(smoke_model_folder):
    from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
    from autocontrastive_gen.modeling.configuration import MultiExitConfiguration

    config = MultiExitConfiguration("SHARED_PROJECTION_CAST_OUTPUTS", lm_head_layer_indices=(1, 2))
    return AutoMultiExitModel.from_pretrained(smoke_model_folder, config, dtype=torch.float32).eval()


@pytest.fixture
def rows(model, tokenizer):
    prompts = [
        {"id": str(i), "prompt": text} for i, text in enumerate(("Since then the road", "wool", "Dimitri wrote"))
    ]
    texts = generate_texts(model, tokenizer, prompts, DECODERS.build("greedy", {}), 9, 0, 2)
    return [{**row, "document": row["id"]} for row in texts]


def test_matches_are_those_of_the_exit_alone(model, tokenizer, rows):
    for row, found in zip(rows, matches_of(model, tokenizer, rows), strict=True):
        ids = tokenizer(row["prompt"])["input_ids"]
        for layer in (1, 2):
            with torch.no_grad(), model.set_exits(output_layer_index=layer):
                logits = model(input_ids=torch.tensor([ids + row["tokens"]])).logits[0, len(ids) - 1 : -1]
            assert found[str(layer)] == (logits.argmax(-1) == torch.tensor(row["tokens"])).tolist()


def test_a_summary_counts_the_texts_tokens(model, tokenizer, rows):
    matches = matches_of(model, tokenizer, rows)
    found = drafting(model, tokenizer, rows, samples=100)
    for layer, entry in found.items():
        agreed = [match for each in matches for match in each[layer]]
        assert entry["tokens"] == len(agreed) == 27
        assert entry["agreement"]["value"] == pytest.approx(sum(agreed) / 27)
        assert entry["per_pass"]["2"] == pytest.approx(27 / sum(passes(each[layer], 2) for each in matches))


def drafted_step_by_step(matches, k):
    """Rounds of k drafts, as a decoder would run them."""
    left, rounds = list(matches), 0
    while left:
        drafts, rounds = left[:k], rounds + 1
        accepted = drafts.index(False) if False in drafts else len(drafts)
        left = left[accepted + 1 :]
    return rounds


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 9))
def test_passes(matches, k):
    assert passes(matches, k) == drafted_step_by_step(matches, k)


@pytest.mark.parametrize("mode", MODES)
def test_a_step_costs_its_weights(mode):
    model = tiny_model(mode)
    head = model.lm_head.weight.numel()
    blocks = [sum(p.numel() for p in block.parameters()) for block in model.anatomy.trunk(model)]
    size = model.lm_head.weight.shape[1] ** 2 if "CAST" in str(mode) else 0
    for layer, cost in step_costs(model).items():
        extra = size if int(layer) < len(blocks) else 0
        assert cost == pytest.approx((sum(blocks[: int(layer)]) + head + extra) / (sum(blocks) + head))
