"""Packed products are rounded as they say, or exact where oneDNN finds no gain in it; nothing else changes."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from autocontrastive_gen.generation.lookahead import require_lookahead
from autocontrastive_gen.modeling.packed import pack, rounding, rounds

AMX = torch.cpu._is_amx_tile_supported()


@pytest.fixture(autouse=True)
def _needs_bfloat16():
    if pack(nn.Linear(32, 32, dtype=torch.bfloat16)) == 0:
        pytest.skip("this CPU has no bfloat16 instructions, so nothing is packed")


def linear(size, out, bias, seed=0):
    torch.manual_seed(seed)
    return nn.Linear(size, out, bias, dtype=torch.bfloat16).float()


def in_blocks(layers) -> nn.Module:
    """A model whose blocks are one layer each."""
    model = nn.Module()
    model.blocks = nn.ModuleList(layers)
    return model


@given(st.lists(st.integers(0, 5), max_size=2), st.booleans(), st.integers(0, 9), st.sampled_from([1e-3, 1.0, 1e3]))
def test_products_are_exact_or_those_of_rounded_inputs_or_rounded_on_both_sides(shape, bias, seed, scale):
    model = in_blocks(linear(48, 40, bias, seed + i) for i in range(12))
    x = torch.randn(*shape, 48) * scale
    assert pack(model) == 12
    for number, layer in enumerate(model.blocks):
        rounded, exact = (nn.functional.linear(inputs.double(), layer.weight.double()) for inputs in (x.bfloat16(), x))
        found = layer(x).double() - (layer.bias.double() if bias else 0)
        assert found.shape == (*shape, 40)
        largest = max([each.abs().max().item() for each in (rounded, exact) if each.numel()], default=1.0)
        slack = 2**-18 * largest + (1e-5 if bias else 0)
        outputs = 0 if AMX or number >= 10 else 2**-8
        ways = (rounded, exact) if outputs == 0 else (rounded,)
        assert any(torch.all((found - way).abs() <= slack + outputs * way.abs()) for way in ways)


def test_an_output_matrix_rounds_decoding_steps_where_nothing_is_decided_and_nothing_else():
    model = tiny_model()
    head, weight = model.lm_head, model.lm_head.weight.double()
    assert pack(model)
    for shape in ((6, 1), (3, 2, 1), (6,), (3, 2)):
        states = torch.randn(*shape, weight.shape[-1], generator=torch.Generator().manual_seed(0)) * 9
        assert rounds(head, states) == (shape[-1] == 1)
        found, exact = head(states).double(), states.double() @ weight.T
        deciding = exact.topk(32).indices
        near = torch.finfo(torch.float32).eps * 64 * exact.abs().max()
        if rounds(head, states):
            assert (found - exact).gather(-1, deciding).abs().max() <= near < (found - exact).abs().max()
        elif not AMX:
            assert (found - exact).abs().max() <= near


def tiny_model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=512, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4
    )
    return LlamaForCausalLM(config).bfloat16().float().eval()


def test_other_products_of_the_process_keep_their_precision():
    layer, x = linear(64, 64, False), torch.randn(100, 64)
    exact = nn.functional.linear(x, layer.weight)
    pack(in_blocks([layer, nn.Identity()]))
    assert not torch.equal(layer(x), exact)
    assert torch.equal(nn.functional.linear(x, layer.weight), exact)
    with pytest.raises(RuntimeError):
        layer(x[:, :3])  # the switch is put back
    assert torch.equal(nn.functional.linear(x, layer.weight), exact)


def test_weights_that_are_no_bfloat16_numbers_and_gradients_elsewhere_stay():
    layer = nn.Linear(32, 32)
    assert pack(layer) == 0
    other = copy.deepcopy(layer)
    other(torch.randn(2, 32)).sum().backward()
    assert other.weight.grad is not None


def test_a_model_keeps_its_parameters_and_its_choices():
    exact = tiny_model()
    packed = copy.deepcopy(exact)
    assert pack(packed) == 3 * 7 + 1
    assert pack(packed) == 0  # once is enough
    before, after = exact.state_dict(), packed.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[k], after[k]) for k in before)
    assert rounding(exact) == torch.finfo(torch.float32).eps and rounding(packed) == torch.finfo(torch.bfloat16).eps
    require_lookahead(packed, 30)
    ids = torch.randint(3, 200, (4, 20), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        one, other = exact(ids).logits, packed(ids).logits
    assert not torch.equal(one, other)
    assert (one.argmax(-1) == other.argmax(-1)).float().mean() >= 0.95
    shared = copy.copy(packed)
    assert torch.equal(shared(ids).logits, packed(ids).logits)
