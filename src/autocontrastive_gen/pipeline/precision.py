"""What a value of ``models.<model>.dtype`` means: the type of states and weights, and the type of products."""

from __future__ import annotations

MIXED = "mixed"
"""States in float32, products of numbers that are rounded to bfloat16 (on a GPU, to TF32)."""


def state_type(dtype: str, training: bool = False):
    """The torch type of a model's weights and states; exits of a mixed model are trained in bfloat16."""
    import torch

    if dtype == MIXED:
        return torch.bfloat16 if training else torch.float32
    return getattr(torch, dtype)


def speed_up(model, dtype: str) -> None:
    """Let a model that is on its device, for inference, use 16-bit products as far as its ``dtype`` allows."""
    import torch

    from autocontrastive_gen.modeling.packed import pack

    if dtype in (MIXED, "bfloat16"):
        pack(model)
    if dtype == MIXED:
        torch.backends.cuda.matmul.allow_tf32 = True
