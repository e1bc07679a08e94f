"""What every layer wants at a token, against forward passes with each exit."""

import pytest
import torch

from autocontrastive_gen import AutoMultiExitModel, MultiExitConfiguration
from autocontrastive_gen.inspection.layer_choices import layer_choices

BEFORE = [5, 9, 14, 3, 8]
ACD = {"contrast_layer_indices": ("original", 3)}


@pytest.fixture
def model(smoke_model_folder):
    """It reads every layer with its own head."""
    direct = MultiExitConfiguration("SHARED_PROJECTION_DIRECT")
    return AutoMultiExitModel.from_pretrained(smoke_model_folder, direct, dtype=torch.float32)


def probabilities(model, **exits):
    with model.set_exits(**exits), torch.no_grad():
        return model(torch.tensor([BEFORE])).logits[0, -1].softmax(-1)


def test_each_row_is_the_distribution_of_its_exit(model, tokenizer):
    with model.set_exits(**ACD):
        rows = layer_choices(model, tokenizer, BEFORE, token=17, count=3)
    assert [row["exit"] for row in rows] == ["setting", "original", 5, 4, 3, 2, 1]
    ways = [ACD, {}, *({"output_layer_index": layer} for layer in (5, 4, 3, 2, 1))]
    for row, exits in zip(rows, ways, strict=True):
        expected = probabilities(model, **exits)
        top = expected.topk(3)
        shown = [(choice["text"], choice["probability"]) for choice in row["choices"]]
        assert [text for text, _ in shown] == [tokenizer.decode([i]) for i in top.indices.tolist()][: len(shown)]
        assert [value for _, value in shown] == pytest.approx(top.values.tolist()[: len(shown)], abs=1e-3)
        assert row["came"]["probability"] == pytest.approx(float(expected[17]), abs=1e-3)
        assert row["came"]["rank"] == 1 + sum(float(p) > float(expected[17]) for p in expected)


def test_the_token_that_came_is_found_among_the_choices(model, tokenizer):
    first = int(probabilities(model).argmax())
    (original, *_) = layer_choices(model, tokenizer, BEFORE, token=first)
    assert [choice["came"] for choice in original["choices"]] == [True, *[False] * 5]
    assert original["came"]["rank"] == 1
