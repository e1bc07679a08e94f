"""Losses of exits over a large vocabulary, without all of its logits in memory at once.

There are two objectives: cross-entropy with the next token (the paper's), and the Kullback-Leibler divergence to the
model's final distribution (distillation, as for the tuned lens, Belrose et al. 2023, arXiv 2303.08112). Each is
computed over the whole vocabulary, in chunks of rows, or over a sample of it (Bengio & Senecal 2008). All return
**sums** over rows, so that microbatches add up.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK_BYTES = 128 << 20
"""Size of a chunk of float32 logits: enough rows for efficient products, and little memory."""
NARROW_BYTES = 256 << 20
"""The same in bfloat16: the matrix's gradient is added to its float32 sum once per chunk, which takes rows to repay."""
SOFTMAX_BYTES = 8 << 20
"""Size of the float32 logits that stay in a CPU's caches from one pass of the softmax to the next."""
SAMPLE_MULTIPLE = 256
"""Samples of the vocabulary are rounded up to it: oneDNN makes and keeps a kernel for every size of a product."""
GRADIENT_ROWS = 4096
"""Rows of the matrix whose bfloat16 gradient is computed at once: it is added up while it is in the caches."""


@dataclass(frozen=True)
class Projection:
    """An output matrix with the model's scaling and soft cap: ``cap * tanh(scale * (states @ weight.T + bias) / cap)``.

    ``weight`` is (V, d), ``bias`` (V,) or None. Without ``soft_cap``, tanh and the division are left out.
    """

    weight: Tensor
    bias: Tensor | None = None
    scale: float = 1.0
    soft_cap: float | None = None
    _copies: dict[torch.dtype, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    def matrix(self, dtype: torch.dtype) -> Tensor:
        """The matrix (V, d) in ``dtype``, detached; a frozen matrix is converted once, for all exits and steps."""
        if self.weight.requires_grad or self.weight.dtype == dtype:
            return self.weight.detach().to(dtype)
        if dtype not in self._copies:
            self._copies[dtype] = self.weight.to(dtype)
        return self._copies[dtype]

    def shape(self, logits: Tensor) -> Tensor:
        """Scale and cap raw products (..., V), in place."""
        if self.scale != 1.0:
            logits.mul_(self.scale)
        if self.soft_cap is not None:
            logits.div_(self.soft_cap).tanh_().mul_(self.soft_cap)
        return logits

    def rows(self, ids: Tensor) -> Projection:
        """The projection to the tokens ``ids`` (K,) only."""
        return Projection(self.weight[ids], None if self.bias is None else self.bias[ids], self.scale, self.soft_cap)

    def __call__(self, states: Tensor) -> Tensor:
        """Float32 logits (..., V) of ``states`` (..., d), differentiable."""
        logits = F.linear(states, self.weight.to(states.dtype), _to(self.bias, states.dtype)).float()
        logits = logits if self.scale == 1.0 else logits * self.scale
        return logits if self.soft_cap is None else self.soft_cap * torch.tanh(logits / self.soft_cap)


def cross_entropy(states: Tensor, head: Projection, labels: Tensor, bf16: bool = False) -> Tensor:
    """Sum over rows of the cross-entropy of ``head(states)`` with ``labels``; gradients reach the states and the head.

    Args:
        states: (n, d).
        head: projection to V tokens.
        labels: token ids (n,), none of them ignored.
        bf16: compute the matrix products in bfloat16; logits, softmax and sums of gradients stay in float32.
    """
    return _Chunked.apply(states, head.weight, head.bias, labels, None, head, None, bf16, _wants(states, head))


def distillation(
    states: Tensor, head: Projection, teacher_states: Tensor, teacher: Projection, bf16: bool = False
) -> Tensor:
    """Sum over rows of KL(teacher || student); gradients reach the student alone.

    Args:
        states: of the student, (n, d).
        head: of the student.
        teacher_states: (n, d).
        teacher: projection of the teacher.
        bf16: as for ``cross_entropy``.
    """
    wants = _wants(states, head)
    return _Chunked.apply(states, head.weight, head.bias, None, teacher_states.detach(), head, teacher, bf16, wants)


def _wants(states: Tensor, head: Projection) -> tuple[bool, bool, bool]:
    """Whether the states, the matrix and the bias take gradients."""
    enabled = torch.is_grad_enabled()
    bias = head.bias is not None and head.bias.requires_grad
    return enabled and states.requires_grad, enabled and head.weight.requires_grad, enabled and bias


class _Chunked(torch.autograd.Function):
    """Loss and gradients of one chunk of rows after another, in the forward pass: only one chunk's logits exist.

    A chunk takes three products (logits, gradient of the states, gradient of the matrix), as in plain backpropagation,
    so the bound on memory costs no time. In bfloat16, a product is summed in float32 and rounded once; the softmax and
    the sum of the chunks' gradients are in float32.
    """

    @staticmethod
    def forward(ctx, states, weight, bias, labels, teacher_states, head, teacher, bf16, wants):
        dtype = torch.bfloat16 if bf16 else torch.float32
        matrix = head.matrix(dtype)
        shared = teacher is not None and teacher.weight.data_ptr() == weight.data_ptr()
        teacher_matrix = matrix if shared or teacher is None else teacher.matrix(dtype)
        total = torch.zeros((), dtype=torch.float64, device=states.device)
        tensors = zip((states, weight, bias), wants, strict=True)
        grads = [torch.zeros_like(tensor, dtype=torch.float32) if wanted else None for tensor, wanted in tensors]
        rows = min(len(states), _rows(NARROW_BYTES if bf16 else CHUNK_BYTES, len(weight), dtype))
        buffer, other = (_buffer(states, rows, len(weight), dtype) if needed else None for needed in (True, teacher))
        for start in range(0, len(states), rows):
            part = slice(start, start + rows)
            inputs = states[part].detach().to(dtype)
            errors = torch.mm(inputs, matrix.T, out=buffer[: len(inputs)])
            targets = None
            if teacher is not None:
                targets = torch.mm(teacher_states[part].to(dtype), teacher_matrix.T, out=other[: len(inputs)])
            total += _errors(errors, head, None if labels is None else labels[part], targets, teacher, grads[2])
            _accumulate(grads, part, errors, inputs, matrix)
        ctx.save_for_backward(*grads)
        return total.float()

    @staticmethod
    def backward(ctx, grad):
        scaled = [None if item is None else item.mul_(grad) for item in ctx.saved_tensors]
        return (*scaled, *[None] * 6)


def _errors(products: Tensor, head: Projection, labels, targets, teacher, bias_grad: Tensor | None) -> Tensor:
    """Loss of the raw ``products`` (n, V), overwritten with their gradient in pieces that fit a CPU's caches."""
    total = torch.zeros((), dtype=torch.float64, device=products.device)
    small = len(products)
    if products.device.type == "cpu":
        small = _rows(SOFTMAX_BYTES, products.shape[1], torch.float32)
    for start in range(0, len(products), small):
        piece = slice(start, start + small)
        logits = head.shape(_with_bias(products[piece].float(), head.bias))
        slope = None if head.soft_cap is None else (1 - (logits / head.soft_cap) ** 2)
        if teacher is None:
            loss, error = _cross_entropy_error(logits, labels[piece])
        else:
            target = teacher.shape(_with_bias(targets[piece].float(), teacher.bias))
            loss, error = _divergence_error(logits, target)
        total += loss
        error = error.mul_(head.scale) if head.scale != 1.0 else error
        error = error if slope is None else error.mul_(slope)
        if bias_grad is not None:
            bias_grad.add_(error.sum(0))
        if products.dtype != torch.float32:  # else it was computed in place
            products[piece] = error
    return total


def _with_bias(logits: Tensor, bias: Tensor | None) -> Tensor:
    return logits if bias is None else logits.add_(bias.detach().float())


def _cross_entropy_error(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Loss and its gradient, softmax - onehot; overwrites ``logits``."""
    wanted = logits.gather(1, labels[:, None]).double()
    top = logits.amax(-1, keepdim=True)
    sums = logits.sub_(top).exp_().sum(-1, keepdim=True)
    loss = (top.double() + sums.double().log() - wanted).sum()
    error = logits.div_(sums)
    error.scatter_add_(1, labels[:, None], torch.full_like(sums, -1.0))
    return loss, error


def _divergence_error(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """KL(teacher || student) and its gradient, p_student - p_teacher; overwrites both arguments."""
    normaliser = logits.logsumexp(-1, keepdim=True)
    target.sub_(target.logsumexp(-1, keepdim=True))
    probabilities = target.exp()
    logits.sub_(normaliser)
    loss = (probabilities * target.sub_(logits)).sum(-1).double().sum()
    return loss, logits.exp_().sub_(probabilities)


def _accumulate(grads, part: slice, errors: Tensor, inputs: Tensor, matrix: Tensor) -> None:
    states, weight, _ = grads
    if states is not None:
        states[part] = errors @ matrix
    if weight is None:
        return
    if errors.dtype == torch.float32:
        weight.addmm_(errors.T, inputs)
        return
    for some in range(0, len(weight), GRADIENT_ROWS):
        piece = slice(some, some + GRADIENT_ROWS)
        weight[piece].add_(errors[:, piece].T @ inputs)


def _rows(size: int, vocabulary: int, dtype: torch.dtype) -> int:
    return max(1, size // (dtype.itemsize * vocabulary))


def _buffer(states: Tensor, rows: int, vocabulary: int, dtype: torch.dtype) -> Tensor:
    return torch.empty(rows, vocabulary, dtype=dtype, device=states.device)


def _to(tensor: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    return None if tensor is None else tensor.to(dtype)


@dataclass(frozen=True)
class Sample:
    """Tokens that stand for the vocabulary in a step: ``ids`` (K,) ascending, and ``correction`` (K,) for their logits.

    The correction is 0 for tokens that are in every sample, and log(m / n) for the n negatives that are drawn without
    replacement from the other m tokens. The sum of exp(logits + correction) is then an unbiased estimate of the
    partition function; its log, and so the loss, is slightly biased.
    """

    ids: Tensor
    correction: Tensor

    def positions(self, labels: Tensor) -> Tensor:
        """Positions in ``ids`` of the ``labels`` (n,)."""
        return torch.searchsorted(self.ids, labels)


def sample_vocabulary(
    labels: Tensor, frequent: Tensor, negatives: int, size: int, generator: torch.Generator
) -> Sample:
    """Of a vocabulary of ``size`` tokens: the ``frequent`` ones, all ``labels``, and ``negatives`` of the others.

    To as many negatives as ``SAMPLE_MULTIPLE`` or more, some are added that make the sample a multiple of it.
    """
    always = torch.zeros(size, dtype=torch.bool)
    always[frequent.cpu()] = True
    always[labels.cpu()] = True
    others = torch.nonzero(~always).squeeze(1)
    if negatives >= SAMPLE_MULTIPLE:
        negatives += -(size - len(others) + negatives) % SAMPLE_MULTIPLE
    drawn = others[torch.randperm(len(others), generator=generator)[:negatives]]
    always[drawn] = True
    ids = torch.nonzero(always).squeeze(1)
    correction = torch.zeros(len(ids))
    if len(drawn):
        correction[torch.searchsorted(ids, drawn)] = torch.tensor(len(others) / len(drawn)).log()
    return Sample(ids.to(labels.device), correction.to(labels.device))


def sampled_cross_entropy(states: Tensor, rows: Projection, sample: Sample, labels: Tensor) -> Tensor:
    """``cross_entropy`` over a sample; ``rows`` is the head at its tokens, ``labels`` (n,) are token ids."""
    return F.cross_entropy(rows(states) + sample.correction, sample.positions(labels), reduction="sum")


def sampled_distillation(states: Tensor, rows: Projection, sample: Sample, target: Tensor) -> Tensor:
    """``distillation`` over a sample; ``target`` (n, K) is the teacher's ``over_sample``."""
    return F.kl_div(over_sample(states, rows, sample), target, reduction="sum", log_target=True)


def over_sample(states: Tensor, rows: Projection, sample: Sample) -> Tensor:
    """Log-probabilities (n, K) of ``states`` over a sample, with its correction."""
    return F.log_softmax(rows(states).add_(sample.correction), -1)
