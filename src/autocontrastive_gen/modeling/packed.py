"""Linear layers that use a CPU's bfloat16 instructions.

A float32 model whose weights are numbers of bfloat16, as published ones often are, need not pay for products in
float32. ``pack`` rounds the inputs of such layers to bfloat16, which leaves the weights as they are; sums, states, and
logits stay in float32. What is lost is the rounding of the input, 2^-9 of each entry; a model in bfloat16 loses as much
in every output, sum, and state. On a GPU, the same trade is the TF32 format.

oneDNN offers that with AMX instructions alone. On a CPU that has only AVX-512's for bfloat16, outputs are rounded, too,
and to make up for it some layers compute in float32: those of the last blocks, which make the difference between the
last layer and an exit just below it, and the smallest of every block, such as those of keys and queries.

The output matrix is rounded in decoding steps alone, where texts have one position each, and its logits are computed
again in float32 at the tokens that decide. Elsewhere, any token may be asked for, such as the next one of a given text.

Weights that are multiplied as bfloat16 are laid out once, in the order in which these instructions read them.
"""

from __future__ import annotations

import itertools
import math
import threading
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from autocontrastive_gen.foundation.environment import multiplies_bfloat16
from autocontrastive_gen.modeling.arithmetic import scatter
from autocontrastive_gen.modeling.deciding import deciding, gathered_product

ROWS = 32
"""Rows that the layout is made for; oneDNN accepts others."""
LAST = 0.1
"""Share of the blocks, the last ones, that stay in float32 where outputs would be rounded."""
SMALLEST = 1 / 6
"""Share of a block's weights, those of its smallest layers, that stay so, too."""
_ROUNDING = threading.Lock()
"""Held while the process rounds the inputs of float32 products: other threads must not save or restore that switch."""


def pack(model: nn.Module) -> int:
    """Multiply in bfloat16 on this CPU wherever the weights of a model allow it; for inference.

    Layers of type ``nn.Linear`` change if they hold bfloat16, or float32 whose every number is one of bfloat16; the
    others, such as trained casts, compute as before (unless another thread runs them at the same moment as a packed
    layer). The modules, their parameters and what is saved stay the same, but changes of the weights no longer have an
    effect, and no gradients flow. Compiled graphs compute packed float32 layers in float32.

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
    if not multiplies_bfloat16("cpu"):
        return 0
    packed, robust = 0, _robust(model)
    output = model.get_output_embeddings() if isinstance(model, PreTrainedModel) else None
    for module in model.modules():
        if type(module) is nn.Linear and "forward" not in vars(module) and _suits(module.weight):
            kind: type[_Packed] = _PackedLinear if module in robust else _RoundedInputs
            if module.weight.dtype == torch.bfloat16:
                kind = _PackedLinear
            elif module is output:
                kind = _OutputMatrix
            module.forward = kind(module)  # type: ignore[method-assign,assignment]
            packed += 1
    return packed


def rounded_product(output: nn.Module, states: Tensor) -> Tensor | None:
    """The product of ``states`` (..., d) with a packed output matrix, rounded everywhere; None if it is not to be."""
    return vars(output)["forward"].rounded(states) if rounds(output, states) else None


def rounds(output: nn.Module, states: Tensor) -> bool:
    """Whether a packed output matrix rounds its product with ``states`` (..., d) where nothing is decided."""
    packed = vars(output).get("forward")
    return isinstance(packed, _OutputMatrix) and packed.rounds(states)


def _robust(model: nn.Module) -> set[nn.Module]:
    """The layers whose outputs may be rounded: on a CPU without AMX, those of all blocks but the last, and not the
    smallest ones."""
    if torch.cpu._is_amx_tile_supported():
        return set()
    blocks = [*next((module for module in model.modules() if isinstance(module, nn.ModuleList)), ())]
    return {layer for block in blocks[: len(blocks) - math.ceil(LAST * len(blocks))] for layer in _large(block)}


def _large(block: nn.Module) -> list[nn.Linear]:
    """The linear layers of a block but for the smallest, which hold at most ``SMALLEST`` of their weights."""
    layers = [module for module in block.modules() if isinstance(module, nn.Linear)]
    layers.sort(key=lambda layer: layer.weight.numel())  # of layers of one size, the first is taken for smaller
    held = list(itertools.accumulate(layer.weight.numel() for layer in layers))
    return [layer for layer, total in zip(layers, held, strict=True) if total > SMALLEST * held[-1]]


def rounding(model: PreTrainedModel) -> float:
    """The relative rounding of what a model's products read: its type's or, if coarser, that of their 16-bit inputs."""
    own = torch.finfo(model.dtype).eps
    if any(isinstance(vars(module).get("forward"), _Packed) for module in model.modules()):
        return max(own, torch.finfo(torch.bfloat16).eps)
    if model.device.type == "cuda" and torch.backends.cuda.matmul.allow_tf32:
        return max(own, 2**-10)
    return own


def _suits(weight: Tensor) -> bool:
    if weight.device.type != "cpu":
        return False
    if weight.dtype != torch.float32:
        return weight.dtype == torch.bfloat16
    has_switch = hasattr(torch.backends.mkldnn, "matmul")  # since torch 2.9
    return has_switch and torch.equal(weight.bfloat16().float(), weight)


class _Packed(ABC):
    """The forward of one linear layer, d -> n."""

    def __init__(self, layer: nn.Linear) -> None:
        self.bias = None if layer.bias is None else layer.bias.detach()
        self.weight = layer.weight.detach()

    def __call__(self, x: Tensor) -> Tensor:
        """``x @ weight.T + bias``, (..., n), for x (..., d) of the weight's type."""
        if x.dtype == torch.float32 and torch.compiler.is_compiling():
            return nn.functional.linear(x, self.weight, self.bias)
        return self._computed(x)

    @abstractmethod
    def _computed(self, x: Tensor) -> Tensor:
        """The same, outside a compiled graph of float32."""


class _PackedLinear(_Packed):
    """Inputs and outputs in bfloat16, with the weights laid out."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__(layer)
        self._packed = torch.ops.mkldnn._reorder_linear_weight(self.weight.bfloat16(), ROWS)

    def _computed(self, x: Tensor) -> Tensor:
        if x.dtype == torch.bfloat16:
            return _product(x, self._packed, self.bias)
        found = _product(x.bfloat16(), self._packed, None).to(x.dtype)
        return found if self.bias is None else found + self.bias


class _RoundedInputs(_Packed):
    """oneDNN rounds the inputs of a float32 product itself, if it can; nothing is stored twice."""

    def _computed(self, x: Tensor) -> Tensor:
        switch = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
        with _ROUNDING:
            before, switch.fp32_precision = switch.fp32_precision, "bf16"
            try:
                return _product(x, self.weight, self.bias)
            finally:
                switch.fp32_precision = before


class _OutputMatrix(_Packed):
    """d -> V in float32, of which decoding steps are rounded but at the tokens that decide."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__(layer)
        self._whole = _RoundedInputs(layer)
        self.rounded = self._whole if torch.cpu._is_amx_tile_supported() else _PackedLinear(layer)

    def rounds(self, states: Tensor) -> bool:
        """Whether the product with ``states`` (..., d) is that of a decoding step."""
        return states.dim() > 2 and states.shape[-2] == 1 and not torch.compiler.is_compiling()

    def _computed(self, x: Tensor) -> Tensor:
        if not self.rounds(x):
            return self._whole(x)
        logits, states = self.rounded(x).flatten(0, -2), x.flatten(0, -2)
        token_ids = deciding(logits)
        exact = gathered_product(self.weight, self.bias, states, token_ids)
        return scatter(logits, token_ids, exact).view(*x.shape[:-1], -1)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
