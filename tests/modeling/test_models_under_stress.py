"""Every contrast through a model: from one token to the window's edge, in every float type and batch."""

import pytest
import torch

from tests.modeling.conftest import MODES, tiny_ids, tiny_model
from tests.stress import DTYPES, contrasts, title

WINDOW = 64
METHODS_ON_MODELS = [
    pytest.param(method, marks=[] if " " not in title(method) else pytest.mark.slow, id=title(method))
    for method in contrasts()
]
"""Those with parameters other than the defaults are left to the slow tests."""


@pytest.fixture(scope="module", params=DTYPES, ids=str)
def any_model(request):
    return _with_exits(request.param)


@pytest.fixture(scope="module")
def model():
    return _with_exits(torch.float32)


def _with_exits(dtype):
    return tiny_model(MODES[1], exits=(2, 3)).to(dtype)


def set_to(model, method):
    """The model with a contrast of two exits, or of those that the method names."""
    method = {**method.parameters, "name": method.name}
    if isinstance(method.get("layers"), list) and method["layers"]:
        method["layers"] = [2, 3]
    return model.set_exits(contrast_layer_indices=("original", 2), contrast_function=method)


@pytest.mark.parametrize("method", METHODS_ON_MODELS)
@torch.no_grad()
def test_the_cache_changes_nothing_from_one_token_to_the_windows_edge(model, method):
    with set_to(model, method):
        options = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0, "output_logits": True}
        made = model.generate(tiny_ids(2, 1), max_length=WINDOW, return_dict_in_generate=True, **options)
        whole = model(made.sequences, use_cache=False).logits
    assert made.sequences.shape == (2, WINDOW)
    torch.testing.assert_close(torch.stack(made.logits, 1), whole[:, :-1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS_ON_MODELS)
@torch.no_grad()
def test_rows_are_distributions_in_every_float_type(any_model, method):
    with set_to(any_model, method):
        found = any_model(tiny_ids(3, WINDOW)).logits
    assert found.dtype == torch.float32 and not found.isnan().any()
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(3, WINDOW), atol=1e-5, rtol=0)


@pytest.mark.parametrize("batch", [pytest.param(2), pytest.param(17), pytest.param(512, marks=pytest.mark.slow)])
@pytest.mark.parametrize("method", METHODS_ON_MODELS)
@torch.no_grad()
def test_a_prompt_has_the_same_logits_in_every_batch(model, method, batch):
    ids = tiny_ids(batch, 3)
    with set_to(model, method):
        together = model(ids).logits
        for row in {0, batch // 2, batch - 1}:
            torch.testing.assert_close(together[row], model(ids[row : row + 1]).logits[0], atol=1e-4, rtol=1e-4)
