"""Decoding by contrasting layers against slow versions of the paper's and the released formulas."""

import math

import numpy as np
import pytest
import torch

from autocontrastive_gen.modeling.contrast import Cd, Dola
from tests.modeling.conftest import MODES, tiny_ids, tiny_model
from tests.modeling.slow import assert_exact, log_softmax, over, slow_cd, slow_plausible


def divergence(p, q) -> float:
    """KL(p || q)."""
    return sum(float(x * math.log(x / y)) for x, y in zip(p, q, strict=True) if x > 0)


def distance(variant: str, upper, lower) -> float:
    p, q = np.exp(log_softmax(upper)), np.exp(log_softmax(lower))
    mean = (p + q) / 2
    pairs = ((p, mean), (q, mean)) if variant == "paper" else ((mean, p), (mean, q))
    return sum(divergence(*pair) for pair in pairs) / 2


def is_clear(variant: str, upper, lowers: dict) -> bool:
    """Whether rounding can't change the choice, as where distributions share nothing: all are log 2 away."""
    first, second, *_ = sorted((distance(variant, upper, lower) for lower in lowers.values()), reverse=True)
    return first - second > 1e-6 * first


def slow_choice(variant: str, upper, lowers: dict) -> int:
    return max(lowers, key=lambda layer: distance(variant, upper, lowers[layer]))


def slow_dola(upper, lowers: dict, alpha: float, variant: str) -> np.ndarray:
    return slow_cd(upper, lowers[slow_choice(variant, upper, lowers)], alpha)


def three_layers(scale: float):
    torch.manual_seed(3)
    upper = torch.randn(2, 6, 90) * scale
    lowers = {layer: torch.randn(2, 6, 90) * scale * spread for layer, spread in ((2, 0.99), (4, 1.0), (6, 1.01))}
    for logits in (upper, *lowers.values()):
        logits[..., 8] = -torch.inf
    return upper, lowers


def rows_of(upper, lowers):
    for i, row in enumerate(upper.flatten(0, 1).numpy()):
        yield row, {layer: x.flatten(0, 1)[i].numpy() for layer, x in lowers.items()}


@pytest.mark.parametrize("variant", ["paper", "released"])
@pytest.mark.parametrize("scale", [0.3, 3.0, 10.0])
def test_the_farthest_layer_of_each_position_is_contrasted(variant, scale):
    upper, lowers = three_layers(scale)
    got = over(Dola(layers=(2, 4, 6), alpha=0.2, variant=variant), upper, lowers).flatten(0, 1)
    clear = [i for i, (row, rows) in enumerate(rows_of(upper, lowers)) if is_clear(variant, row, rows)]
    want = [slow_dola(row, rows, 0.2, variant) for row, rows in rows_of(upper, lowers)]
    assert len({slow_choice(variant, row, rows) for row, rows in rows_of(upper, lowers)}) > 1 and len(clear) > 8
    assert_exact(got[clear], torch.from_numpy(np.stack(want))[clear])


def test_the_variants_choose_different_layers():
    """A layer that rules out what the upper exit says is far in the released code, less so in the paper."""
    upper = torch.tensor([[2.0, 1.0, 0.0, 0.0]])
    lowers = {2: torch.tensor([[2.0, 1.0, 0.0, -30.0]]), 4: torch.tensor([[0.0, 0.0, 1.5, 1.5]])}
    row, rows = upper[0].numpy(), {layer: x[0].numpy() for layer, x in lowers.items()}
    assert slow_choice("paper", row, rows) == 4 and slow_choice("released", row, rows) == 2
    for variant, chosen in (("paper", 4), ("released", 2)):
        got = over(Dola(layers=(2, 4), variant=variant), upper, lowers)
        torch.testing.assert_close(got, Cd()(upper, lowers[chosen]))


def test_a_position_chooses_without_its_batch():
    upper, lowers = three_layers(3.0)
    for variant in ("paper", "released"):
        method = Dola(layers=(2, 4, 6), variant=variant)
        alone = [over(method, upper[:1, i : i + 1], {k: x[:1, i : i + 1] for k, x in lowers.items()}) for i in range(6)]
        torch.testing.assert_close(over(method, upper, lowers)[:1], torch.cat(alone, 1))


def test_tokens_outside_get_what_is_asked():
    upper, lower = torch.randn(4, 50) * 5, torch.randn(4, 50)
    infinite, finite = (over(Dola(outside=outside), upper, {2: lower}) for outside in (None, -1000))
    assert torch.equal(infinite.isinf(), finite == -1000) and infinite.isinf().any()
    torch.testing.assert_close(finite[~infinite.isinf()], infinite[~infinite.isinf()])


def slow_released_score(upper, lowers: dict, alpha: float, post_softmax: bool, outside: float) -> np.ndarray:
    """A row of the released ``lm_score``: the difference, normalised or not, and then the mask."""
    log_upper, log_lower = log_softmax(upper), log_softmax(lowers[slow_choice("released", upper, lowers)])
    scores = log_upper - log_lower
    if post_softmax:
        scores = log_softmax(scores)
    if alpha > 0:
        scores = np.where(slow_plausible(upper, alpha), scores, outside)
    return scores


@pytest.mark.parametrize(
    ("normalised_over", "alpha", "post_softmax"),
    [("vocabulary", 0.1, True), ("nothing", 0.1, False), ("nothing", 0, False), ("vocabulary", 0, True)],
)
@pytest.mark.parametrize("layers", [(2, 4, 6), (4,)])
def test_the_released_scoring_masks_last(normalised_over, alpha, post_softmax, layers):
    torch.manual_seed(5)
    upper, lowers = torch.randn(2, 6, 90) * 3, {layer: torch.randn(2, 6, 90) * (2 + 0.1 * layer) for layer in layers}
    method = Dola(layers, alpha, "released", outside=-1000, normalised_over=normalised_over)
    want = [slow_released_score(row, rows, alpha, post_softmax, -1000) for row, rows in rows_of(upper, lowers)]
    assert_exact(over(method, upper, lowers).flatten(0, 1), torch.from_numpy(np.stack(want)))
    assert not method.is_distribution


def test_scores_are_infinite_only_where_a_token_is_out_of_the_question():
    upper, lower = torch.tensor([[2.0, 1.0, -torch.inf, 0.0]]), torch.tensor([[1.0, -torch.inf, -torch.inf, 0.0]])
    for normalised_over in ("vocabulary", "nothing"):
        scores = over(Dola((2,), 0, normalised_over=normalised_over), upper, {2: lower})
        assert scores.isinf().tolist() == [[False, False, True, False]] and scores.argmax() == 1


@pytest.mark.parametrize(
    ("layers", "depth", "want"),
    [
        ("low", 32, (2, 4, 6, 8, 10, 12, 14)),
        ("high", 32, (16, 18, 20, 22, 24, 26, 28, 30)),
        ("low", 30, (2, 4, 6, 8, 10, 12, 14)),
        ("high", 30, (16, 18, 20, 22, 24, 26, 28)),
        ("low", 60, tuple(range(2, 20, 2))),
        ("high", 60, tuple(range(40, 60, 2))),
        ("all", 5, (1, 2, 3, 4)),
        ((7, 3), 32, (7, 3)),
    ],
)
def test_groups_of_layers(layers, depth, want):
    assert Dola(layers=layers).lower_exits(None, "original", range(1, depth + 1), depth) == want
    assert Dola(layers=layers).takes_lower is False


def test_groups_are_cut_to_the_exits_below_the_upper_one():
    assert Dola(layers="high").lower_exits(None, 24, (4, 15, 16, 20, 24, 28), 32) == (16, 20)
    with pytest.raises(ValueError, match="layers=low of dola: none of the exits .15, 20. of this model of 30 layers"):
        Dola(layers="low").lower_exits(None, "original", (15, 20), 30)
    with pytest.raises(ValueError, match="dola needs a lower layer; the model has exits at 15, 20"):
        Dola().lower_exits(None, "original", (15, 20), 30)


def test_without_the_final_norm_as_the_released_code_does():
    """Exits of a plain model: the output matrix on the hidden states of transformers, which are not normed."""
    model = tiny_model(MODES[2], exits=(1, 2, 3))
    ids = tiny_ids()
    with torch.no_grad():
        output = model(ids, output_hidden_states=True)
        lowers = {layer: model.lm_head(output.hidden_states[layer]) for layer in (1, 2)}
        want = over(Dola(layers=(1, 2), variant="released"), output.logits, lowers)
        contrast = {"name": "dola", "layers": [1, 2], "final_norm": False, "variant": "released"}
        model.set_exits(contrast_layer_indices=("original", None), contrast_function=contrast)
        torch.testing.assert_close(model(ids).logits, want, rtol=1e-4, atol=1e-4)
        model.set_exits(contrast_layer_indices=("original", None), contrast_function={**contrast, "final_norm": True})
        assert not torch.allclose(model(ids).logits.exp(), want.exp(), atol=1e-2)
