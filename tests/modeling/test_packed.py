"""Packed products have inputs that are rounded, or exact where the CPU gains nothing by it; nothing else changes."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from autocontrastive_gen.foundation.environment import multiplies_bfloat16
from autocontrastive_gen.generation.lookahead import require_lookahead
from autocontrastive_gen.modeling.packed import pack, rounding

in_bfloat16 = pytest.mark.skipif(not multiplies_bfloat16("cpu"), reason="this CPU has no bfloat16 instructions")


def linear(size, out, bias, seed=0):
    torch.manual_seed(seed)
    return nn.Linear(size, out, bias, dtype=torch.bfloat16).float()


def tiny_llama():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=512, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4
    )
    return LlamaForCausalLM(config).bfloat16().float().eval()


@in_bfloat16
@given(st.lists(st.integers(0, 5), max_size=2), st.booleans(), st.integers(0, 9), st.sampled_from([1e-3, 1.0, 1e3]))
def test_products_are_exact_or_those_of_rounded_inputs(shape, bias, seed, scale):
    layer = linear(48, 40, bias, seed)
    x = torch.randn(*shape, 48) * scale
    allowed = [nn.functional.linear(inputs.double(), layer.weight.double()) for inputs in (x.bfloat16(), x)]
    assert pack(layer) == 1
    found = layer(x).double() - (layer.bias.double() if bias else 0)
    assert found.shape == (*shape, 40)
    scales = [max(products.abs().max().item(), 1e-30) if products.numel() else 1.0 for products in allowed]
    error = 2**-18 * max(scales) + (1e-5 if bias else 0)
    assert any(torch.all((found - products).abs() <= error) for products in allowed)


@in_bfloat16
def test_other_products_of_the_process_keep_their_precision():
    layer, x = linear(64, 64, False), torch.randn(100, 64)
    exact = nn.functional.linear(x, layer.weight)
    pack(layer)
    assert not torch.equal(layer(x), exact)
    assert torch.equal(nn.functional.linear(x, layer.weight), exact)
    with pytest.raises(RuntimeError):
        layer(x[:, :3])  # the switch is put back
    assert torch.equal(nn.functional.linear(x, layer.weight), exact)


@in_bfloat16
def test_weights_that_are_no_bfloat16_numbers_and_gradients_elsewhere_stay():
    layer = nn.Linear(32, 32)
    assert pack(layer) == 0
    other = copy.deepcopy(layer)
    other(torch.randn(2, 32)).sum().backward()
    assert other.weight.grad is not None


@in_bfloat16
def test_a_model_keeps_its_parameters_and_its_choices():
    exact = tiny_llama()
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


def test_without_bfloat16_instructions_float32_stays_float32(monkeypatch):
    monkeypatch.setattr("autocontrastive_gen.modeling.packed.multiplies_bfloat16", lambda device: False)
    exact = tiny_llama()
    packed = copy.deepcopy(exact)
    assert pack(nn.Linear(32, 32, dtype=torch.bfloat16)) == 0
    assert pack(packed) == 3 * 7 + 1 and pack(packed) == 0
    assert rounding(packed) == rounding(exact) == torch.finfo(torch.float32).eps
    ids = torch.randint(3, 200, (4, 20), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(packed(ids).logits, exact(ids).logits, atol=1e-5, rtol=1e-5)
