"""Contrast in 16-bit models: choices and probabilities are those of unrounded products of the same states."""

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from autocontrastive_gen.modeling import heads
from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration
from autocontrastive_gen.modeling.heads import ExitHead
from autocontrastive_gen.modeling.method import GivenLogits
from autocontrastive_gen.modeling.plausible import plausible_mask
from autocontrastive_gen.modeling.unrounded import DECIDING
from tests.modeling.conftest import MODES

EXITS = (1, 2)
VOCABULARY = 3_000
TOLERANCE = 0.02
"""Nats, at the tokens that decide: what is left comes from rounded logits of the others, in the normaliser."""
METHODS = [
    {"name": "acd"},
    {"name": "acd", "alpha": 0.05, "minimum_candidates": 3},
    {"name": "cd", "temperature": 0.5},
    {"name": "dola"},
    {"name": "dola", "layers": "all"},
    {"name": "sled"},
    {"name": "none"},
]


def rounding_model(mode: str, dtype: torch.dtype, seed: int):
    """A random model whose largest logits are about 20, so that bfloat16 rounds them to an eighth."""
    torch.manual_seed(seed)
    config = GPT2Config(
        n_layer=3,
        n_embd=32,
        n_head=4,
        n_positions=64,
        vocab_size=VOCABULARY,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = AutoMultiExitModel.from_model(GPT2LMHeadModel(config), MultiExitConfiguration(mode, EXITS)).eval()
    with torch.no_grad():
        for parameter in heads.exit_state(model).values():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
        model.transformer.ln_f.weight.fill_(3.0)
    return model.to(dtype)


def unrounded_logits(model, states, exit_):
    """The product in float64, from the states that the output matrix is given."""
    head = model.exit_head(exit_)
    return (head.cast_states(states[model.layer_of(exit_)]).double() @ head.weight.double().T).float()


def ids_of(seed: int) -> torch.Tensor:
    return torch.randint(VOCABULARY, (4, 24), generator=torch.Generator().manual_seed(seed))


def of_logits(model, states, logits_of):
    """What the method in use makes of the logits that ``logits_of`` computes for each exit."""
    active = model.active_exits
    upper, *lowers = (logits_of(model, states, exit_) for exit_ in active.exits)
    return upper, active.method.evaluate(upper, GivenLogits(upper, dict(zip(active.lower, lowers, strict=True))))


def rounded_logits(model, states, exit_):
    return model.project_exit(states[model.layer_of(exit_)], exit_)


@pytest.mark.parametrize("function", METHODS, ids=str)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_choices_and_probabilities_are_those_of_unrounded_products(function, mode, dtype):
    rounding_shows = False  # in float16 it may be too small to
    for seed in range(3):
        model = rounding_model(mode, dtype, seed)
        lower = None if "layers" in function else 1
        model.set_exits(contrast_layer_indices=("original", lower), contrast_function=function)
        states = model.exit_states(ids_of(seed), layers=(1, 2, 3))
        upper, want = of_logits(model, states, unrounded_logits)
        assert plausible_mask(upper.flatten(0, 1), 0.05).sum(-1).max() <= DECIDING
        got = model(ids_of(seed)).logits
        assert torch.equal(got.argmax(-1), want.argmax(-1))
        assert difference(got, want, upper) <= TOLERANCE
        rounding_shows |= difference(of_logits(model, states, rounded_logits)[1], want, upper) > TOLERANCE
    assert rounding_shows or dtype == torch.float16


def difference(got: torch.Tensor, want: torch.Tensor, upper: torch.Tensor) -> float:
    """The largest difference of log-probabilities at the ten most likely tokens; infinite if one is missing."""
    got, want = (x.gather(-1, upper.topk(10).indices) for x in (got, want))
    return float(torch.where(got == want, 0.0, (got - want).abs()).max())


@torch.no_grad()
def test_autocast_rounds_no_more():
    model = rounding_model(MODES[1], torch.float32, 0)
    model.set_exits(contrast_layer_indices=("original", 1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        states = model.exit_states(ids_of(0), layers=(1, 3))
        got = model(ids_of(0)).logits
    head = model.exit_head(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = {1: head.cast_states(states[1]), 3: states[3]}
    upper, lower = (cast[layer].float() @ head.weight.T for layer in (3, 1))
    want = model.active_exits.method(upper, lower)
    assert torch.equal(got.argmax(-1), want.argmax(-1)) and difference(got, want, upper) <= TOLERANCE


@torch.no_grad()
def test_a_head_whose_rows_do_not_say_all_keeps_its_own_logits():
    class Adapted(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x) - 5 * x.mean(-1, keepdim=True)

    model = rounding_model(MODES[2], torch.bfloat16, 0)
    model.lm_head.__class__ = Adapted
    model.set_exits(contrast_layer_indices=("original", 1))
    states = model.exit_states(ids_of(0), layers=(1, 3))
    assert torch.equal(model(ids_of(0)).logits, of_logits(model, states, rounded_logits)[1])


def test_float32_models_compute_nothing_more(monkeypatch):
    model = rounding_model(MODES[1], torch.float32, 0)
    model.set_exits(contrast_layer_indices=("original", None), contrast_function={"name": "dola", "layers": "all"})
    monkeypatch.setattr(ExitHead, "product_of_cast_at", lambda *args: pytest.fail("rows were gathered"))
    model(ids_of(0))


def test_gradients_reach_the_exits_through_unrounded_logits():
    model = rounding_model(MODES[1], torch.bfloat16, 0)
    model.freeze_trunk()
    model.set_exits(contrast_layer_indices=("original", None), contrast_function={"name": "dola", "layers": [1, 2]})
    model(ids_of(0)).logits.amax(-1).sum().backward()
    assert any(
        parameter.grad.abs().sum() > 0 for parameter in heads.exit_state(model).values() if parameter.grad is not None
    )
