"""Linear layers whose weights are laid out once for a CPU's bfloat16 instructions.

A float32 model whose weights are numbers of bfloat16, as published ones often are, need not pay for products in
float32. ``pack`` multiplies in bfloat16 and keeps everything else, states and logits included, in float32:

    h = bf16(x),   y = bf16(W h),   e = bf16(W h - y),   W x ~ y + e

oneDNN sums in float32 and subtracts y before it rounds, so y + e has the 16 significant bits of two bfloat16 numbers.
What is lost is the rounding of the input, 2^-9 of each entry; a model in bfloat16 loses as much in every output, sum,
and state. On a GPU, the same trade is the TF32 format.

Cost, SmolLM2-135M on one core with bfloat16 instructions: a decoding step of 48 rows takes 0.75 times as long as in
float32 and 1.28 times as long as in bfloat16. Each packed weight is stored once more, in bfloat16.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

ROWS = 32
"""Rows that the layout is made for; oneDNN accepts others."""


def pack(model: nn.Module) -> int:
    """Lay out the weights of a model for inference on this CPU, and multiply in bfloat16 wherever they allow it.

    Layers of type ``nn.Linear`` change if they hold bfloat16, or float32 whose every number is one of bfloat16; the
    others, such as trained casts, compute as before. The modules, their parameters and what is saved stay the same,
    but changes of the weights no longer have an effect, and no gradients flow.

    Args:
        model: in evaluation mode, on its device. On a GPU, or on a CPU without bfloat16 instructions, nothing changes.

    Returns:
        The number of layers that were packed.

    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(64, 64, dtype=torch.bfloat16)).float()
    >>> x = torch.randn(3, 64)
    >>> exact = model(x)
    >>> pack(model) in (0, 1)  # 0 where the CPU has no instructions for it
    True
    >>> torch.allclose(model(x), exact, atol=0.02)
    True
    """
    if not (torch.cpu._is_avx512_bf16_supported() and torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        return 0
    packed = 0
    for module in model.modules():
        if type(module) is nn.Linear and "forward" not in vars(module) and _suits(module.weight):
            module.forward = _PackedLinear(module)  # type: ignore[method-assign,assignment]
            packed += 1
    return packed


def rounding(model: PreTrainedModel) -> float:
    """The relative rounding of what a model's products read: its type's or, if coarser, that of their 16-bit inputs."""
    own = torch.finfo(model.dtype).eps
    if any(isinstance(vars(module).get("forward"), _PackedLinear) for module in model.modules()):
        return max(own, torch.finfo(torch.bfloat16).eps)
    if model.device.type == "cuda" and torch.backends.cuda.matmul.allow_tf32:
        return max(own, 2**-10)
    return own


def _suits(weight: Tensor) -> bool:
    if weight.device.type != "cpu":
        return False
    exact = weight.dtype == torch.float32 and torch.equal(weight.bfloat16().float(), weight)
    return exact or weight.dtype == torch.bfloat16


class _PackedLinear:
    """The forward of one linear layer, d -> n."""

    def __init__(self, layer: nn.Linear) -> None:
        self.dtype = layer.weight.dtype
        self.bias = None if layer.bias is None else layer.bias.detach()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach().bfloat16(), ROWS)

    def __call__(self, x: Tensor) -> Tensor:
        """``x @ weight.T + bias``, (..., n), for x (..., d) of the weight's type."""
        narrow = x.bfloat16()
        rounded = torch.ops.mkldnn._linear_pointwise(narrow, self.weight, None, "none", [], "")
        if self.dtype == torch.float32:
            rest = torch.ops.mkldnn._linear_pointwise.binary(narrow, rounded, self.weight, None, "sub")
            rounded = rounded.float().add_(rest)
        return rounded if self.bias is None else rounded + self.bias
