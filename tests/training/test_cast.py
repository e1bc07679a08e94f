"""Least squares against numpy, whatever the way the rows arrive."""

import numpy as np
import pytest
import torch

from autocontrastive_gen.training.cast import NormalEquations


def data(rows=200, width=7):
    torch.manual_seed(0)
    states = {2: torch.randn(rows, width, dtype=torch.float64), 5: torch.randn(rows, width, dtype=torch.float64)}
    return states, torch.randn(rows, width, dtype=torch.float64)


def solved(states, final, parts, damping=0.0):
    equations = NormalEquations(tuple(states), final.shape[1])
    for part in torch.arange(len(final)).chunk(parts):
        equations.add({layer: x[part] for layer, x in states.items()}, final[part])
    return equations.solve(damping)


def test_casts_are_the_least_squares_solutions():
    states, final = data()
    for layer, matrix in solved(states, final, 7).items():
        expected = np.linalg.lstsq(states[layer].numpy(), final.numpy(), rcond=None)[0].T
        np.testing.assert_allclose(matrix.numpy(), expected, atol=1e-6)


def test_damping_is_relative_to_the_mean_of_the_diagonal():
    states, final = data()
    x = states[2].numpy()
    ridge = 0.5 * np.mean(np.diag(x.T @ x))
    expected = np.linalg.solve(x.T @ x + ridge * np.eye(7), x.T @ final.numpy()).T
    np.testing.assert_allclose(solved(states, final, 3, damping=0.5)[2].numpy(), expected, atol=1e-6)


def test_a_linear_map_is_found_exactly_from_bfloat16_states():
    states, _ = data(rows=400)
    x = states[2].to(torch.bfloat16)
    matrix = torch.diag(torch.tensor([2.0, 1.0, 0.5, 4.0, 1.0, 0.25, 8.0])).to(torch.bfloat16)
    found = solved({2: x}, x @ matrix.T, 4)[2]
    torch.testing.assert_close(found, matrix.float(), atol=1e-4, rtol=1e-4)


def test_too_few_positions_name_damping():
    states, final = data(rows=3)
    with pytest.raises(ValueError, match=r"cast: damping = 0.0: 3 positions do not determine .* layer 2"):
        solved(states, final, 1)
    assert torch.isfinite(solved(states, final, 1, damping=0.01)[2]).all()


def test_no_position_at_all_is_an_error():
    with pytest.raises(ValueError, match="there is no position to fit on"):
        NormalEquations((1,), 4).solve(0.1)


def test_state_goes_on_where_it_was():
    states, final = data()
    first, second = NormalEquations((2,), 7), NormalEquations((2,), 7)
    first.add({2: states[2][:90]}, final[:90])
    second.load_state_dict({name: tensor.clone() for name, tensor in first.state_dict().items()})
    for equations in (first, second):
        equations.add({2: states[2][90:]}, final[90:])
    assert torch.equal(first.solve(0.001)[2], second.solve(0.001)[2])
