"""The growing cache against transformers' own: the same keys, values and tokens."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache
from transformers.cache_utils import DynamicLayer

from autocontrastive_gen.generation.cache import ROOM, GrowingLayer, growing_cache


def states(length, rows=3):
    return torch.randn(rows, 2, length, 4), torch.randn(rows, 2, length, 5)


def same(one, other):
    return torch.equal(one.keys, other.keys) and torch.equal(one.values, other.values)


def test_a_layer_holds_what_a_concatenating_layer_holds():
    torch.manual_seed(0)
    grown, plain = GrowingLayer(), DynamicLayer()
    order = torch.tensor([2, 0, 0])
    for step in range(3 * ROOM):
        new = states(7 if step % 40 == 0 else 1, rows=len(order))
        for ours, theirs in zip(grown.update(*new), plain.update(*new), strict=True):
            assert torch.equal(ours, theirs)
        if step % 5 == 0:
            grown.reorder_cache(order), plain.reorder_cache(order)
        if step % 11 == 0:
            grown.crop(-2), plain.crop(-2)
        if step == 50:
            order = torch.tensor([1, 0])
            grown.batch_select_indices(order), plain.batch_select_indices(order)
            grown.batch_repeat_interleave(2), plain.batch_repeat_interleave(2)
            order = torch.tensor([3, 2, 1, 0])
        assert same(grown, plain) and grown.get_seq_length() == plain.get_seq_length()
    grown.reset()
    assert grown.get_seq_length() == 0


def test_shared_tokens_stay_in_place():
    torch.manual_seed(0)
    grown, plain = GrowingLayer(), DynamicLayer()
    prompt = [x.repeat_interleave(2, 0) for x in states(5, rows=2)]
    grown.update(*prompt), plain.update(*prompt)
    grown.shared = 5
    for order in ([1, 0, 3, 3], [0, 0, 2, 3], [1, 1, 3, 2]) * ROOM:
        new = states(1, rows=4)
        grown.update(*new), plain.update(*new)
        place = grown.keys.data_ptr()
        grown.reorder_cache(torch.tensor(order)), plain.reorder_cache(torch.tensor(order))
        assert same(grown, plain) and grown.keys.data_ptr() == place


def test_most_steps_copy_nothing():
    layer = GrowingLayer()
    layer.update(*states(5))
    places = set()
    for _ in range(ROOM):
        layer.update(*states(1))
        places.add(layer.keys.data_ptr())
    assert len(places) == 1


@pytest.mark.parametrize("options", [{"do_sample": False}, {"num_beams": 3}, {"do_sample": True, "top_k": 9}])
def test_the_same_tokens_as_with_transformers_own_cache(smoke_model_folder, options):
    model = AutoModelForCausalLM.from_pretrained(smoke_model_folder, dtype=torch.float32)
    ids = torch.randint(3, 200, (3, 6), generator=torch.Generator().manual_seed(0))
    found = []
    for cache in (growing_cache(model), DynamicCache(config=model.config)):
        torch.manual_seed(1)
        found.append(model.generate(ids, max_new_tokens=40, past_key_values=cache, pad_token_id=0, **options))
    assert torch.equal(*found)


def test_layers_with_a_window_stay_transformers_own():
    config = AutoConfig.for_model("gemma2", num_hidden_layers=4, hidden_size=16, num_attention_heads=2, vocab_size=99)
    model = torch.nn.Module()
    model.config = config
    kinds = [type(layer) for layer in growing_cache(model).layers]
    assert kinds.count(GrowingLayer) == 2 and DynamicLayer not in kinds and len(kinds) == 4
