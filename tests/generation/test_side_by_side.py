"""One prompt, without and with contrast, against a full forward pass of the plain model."""

import torch
from transformers import AutoTokenizer

from autocontrastive_gen import AutoMultiExitModel, MultiExitConfiguration
from autocontrastive_gen.generation.side_by_side import SideBySide, side_by_side

CONTRAST = {"use_original_head": False, "contrast_layer_indices": ("original", 4), "contrast_function": "acd"}


def test_changed_tokens_are_those_that_the_last_layer_would_not_choose(smoke_model_folder):
    tokenizer = AutoTokenizer.from_pretrained(smoke_model_folder)
    direct = MultiExitConfiguration("SHARED_PROJECTION_DIRECT")
    model = AutoMultiExitModel.from_pretrained(smoke_model_folder, multi_exit_config=direct, dtype=torch.float32)
    prompt = "The old mill"
    found = side_by_side(model, tokenizer, prompt, CONTRAST, new_tokens=12)
    assert model.multi_exit_config.use_original_head, "the model is as it was"

    start = tokenizer(prompt, return_tensors="pt")["input_ids"]
    ids, tokens = start, []
    with model.set_exits(**CONTRAST), torch.no_grad():
        for _ in range(12):
            scores = model(ids).logits[0, -1]
            scores[model.generation_config.eos_token_id] = -torch.inf
            tokens.append(int(scores.argmax()))
            ids = torch.cat([ids, torch.tensor([[tokens[-1]]])], dim=1)
    assert "".join(found.contrasted) == tokenizer.decode(tokens)
    with torch.no_grad():
        plain = model(ids).logits[0, start.shape[1] - 1 : -1].argmax(-1).tolist()
    changed = {i for i, (token, other) in enumerate(zip(tokens, plain, strict=True)) if token != other}
    assert found.changed == changed and changed


def test_neighbouring_changes_are_one_part():
    texts = SideBySide(["a"], ["The", " mill", " by", " the", " sea"], frozenset({1, 2, 4}))
    assert texts.parts == [("The", False), (" mill by", True), (" the", False), (" sea", True)]
