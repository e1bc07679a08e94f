"""What a value of ``models.<model>.dtype`` means: the type of states and weights, and the type of products."""

from __future__ import annotations

from autocontrastive_gen.foundation.environment import multiplies_bfloat16

MIXED = "mixed"
"""States in float32, products of numbers that are rounded to bfloat16 (on a GPU, to TF32)."""


def state_type(dtype: str, trained_on: str | None = None):
    """The torch type of a model's weights and states.

    Args:
        dtype: of the model, as in params.yaml.
        trained_on: the device on which exits are trained; those of a mixed model are trained in bfloat16, unless that
            is slow there.
    """
    import torch

    if dtype == MIXED:
        return torch.bfloat16 if trained_on and multiplies_bfloat16(trained_on) else torch.float32
    return getattr(torch, dtype)


def speed_up(model, dtype: str) -> None:
    """Let a model that is on its device, for inference, use 16-bit products as far as its ``dtype`` allows."""
    import torch

    from autocontrastive_gen.modeling.packed import pack

    if dtype in (MIXED, "bfloat16"):
        pack(model)
    if dtype == MIXED:
        torch.backends.cuda.matmul.allow_tf32 = True
