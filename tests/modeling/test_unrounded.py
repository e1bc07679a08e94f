"""Contrast in 16-bit models: choices and probabilities are those of unrounded products of the same states."""

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from autocontrastive_gen.modeling import heads
from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
from autocontrastive_gen.modeling.configuration import MultiExitConfiguration
from autocontrastive_gen.modeling.deciding import DECIDING
from autocontrastive_gen.modeling.heads import ExitHead
from autocontrastive_gen.modeling.method import GivenLogits
from autocontrastive_gen.modeling.packed import pack
from autocontrastive_gen.modeling.plausible import plausible_mask
from tests.modeling.conftest import MODES

EXITS = (1, 2)
VOCABULARY = 3_000
TOLERANCE = 0.02
"""Nats, at the tokens that decide: what is left comes from rounded logits of the others, in the normaliser."""
TIE = 2e-4
"""Nats by which sums of another order may differ."""
NEAR = 1e-3
"""Nats between the divergences of two layers: if they are nearer, rounded logits of other tokens may tip the choice."""
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


def clear_choices(model, states, upper):
    """The positions (batch, tokens) at which no second layer is nearly as far from the upper exit as the farthest."""
    if len(model.active_exits.lower) < 2 or model.active_exits.method.name != "dola":
        return torch.ones(upper.shape[:-1], dtype=torch.bool)
    lower = torch.stack([unrounded_logits(model, states, exit_) for exit_ in model.active_exits.lower])
    p, q = upper.double().softmax(-1), lower.double().softmax(-1)
    entropy = torch.special.entr
    divergences = entropy((p + q) / 2).sum(-1) - (entropy(p).sum(-1) + entropy(q).sum(-1)) / 2
    farthest, second = divergences.topk(2, dim=0).values
    return farthest - second > NEAR


def rounded_logits(model, states, exit_):
    return model.project_exit(states[model.layer_of(exit_)], exit_)


@pytest.mark.parametrize("function", METHODS, ids=str)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_choices_and_probabilities_are_those_of_unrounded_products(function, mode, dtype):
    shown = [
        rounding_shows_but_in_the_model(rounding_model(mode, dtype, seed), ids_of(seed), function) for seed in range(3)
    ]
    assert any(shown) or dtype == torch.float16  # in float16 it may be too small to


@pytest.mark.parametrize("function", METHODS, ids=str)
@pytest.mark.parametrize("mode", MODES)
@torch.no_grad()
def test_so_are_those_of_decoding_steps_with_a_packed_output_matrix(function, mode):
    for seed in range(3, 6):  # texts of one token, of which enough are clear choices
        model = rounding_model(mode, torch.bfloat16, seed).float()
        if not pack(model):
            pytest.skip("this CPU has no bfloat16 instructions, so nothing is packed")
        rounding_shows_but_in_the_model(model, ids_of(seed).view(-1, 1), function)


def rounding_shows_but_in_the_model(model, ids: torch.Tensor, function: dict) -> bool:
    """Whether rounded logits would change a method's result, which that of the model's own forward must not show."""
    lower = None if "layers" in function else 1
    model.set_exits(contrast_layer_indices=("original", lower), contrast_function=function)
    states = model.exit_states(ids, layers=(1, 2, 3))
    upper, want = of_logits(model, states, unrounded_logits)
    assert plausible_mask(upper.flatten(0, 1), 0.05).sum(-1).max() <= DECIDING
    clear = clear_choices(model, states, upper)
    assert clear.float().mean() > 0.25
    got, rounded = model(ids).logits, of_logits(model, states, rounded_logits)[1]
    got, rounded, want, upper = (x[clear] for x in (got, rounded, want, upper))
    chosen = want.gather(-1, got.argmax(-1, keepdim=True))
    assert (want.amax(-1, keepdim=True) - chosen).max() <= TIE
    assert difference(got, want, upper) <= TOLERANCE
    return difference(rounded, want, upper) > TOLERANCE


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
