"""The nucleus is transformers' own, whether it is small or larger than what is looked at first."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import TopPLogitsWarper

from autocontrastive_gen.generation import nucleus


@given(st.integers(0, 99), st.sampled_from([0.1, 0.5, 0.9, 0.95, 0.999]), st.sampled_from([0.1, 1.0, 6.0]))
def test_the_nucleus_is_that_of_the_sorted_vocabulary(seed, top_p, scale):
    scores = scale * torch.randn(6, 300, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    scores[:2, ::3] = -torch.inf
    ids = torch.zeros(6, 1, dtype=torch.long)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nucleus, "LIKELY", 40)
        found = nucleus.Nucleus(top_p)(ids, scores)
    assert torch.equal(found, TopPLogitsWarper(top_p)(ids, scores))
    assert torch.equal(nucleus.Nucleus(top_p)(ids, scores), found)
