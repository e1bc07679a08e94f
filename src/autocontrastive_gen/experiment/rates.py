"""How fast a device works, and how long work takes on it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from autocontrastive_gen.foundation.environment import multiplies_bfloat16

BLOCK_S = 2e-4
"""Launching the kernels of one transformer block, with its share of the decoding loop, per call."""


@dataclass(frozen=True)
class Work:
    """Operations (a multiplication and an addition count as two), bytes read and written, and calls of blocks."""

    flops: float = 0.0
    moved: float = 0.0
    calls: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(self.flops + other.flops, self.moved + other.moved, self.calls + other.calls)

    def times(self, n: float) -> Work:
        return Work(n * self.flops, n * self.moved, n * self.calls)


@dataclass(frozen=True)
class Rates:
    """Speed of a device: FLOP/s of large products in float32 and in bfloat16, bytes/s of a copy."""

    float32: float
    bfloat16: float
    bandwidth: float

    def seconds(self, work: Work, narrow: bool) -> float:
        peak = self.bfloat16 if narrow else self.float32
        return max(work.flops / peak, work.moved / self.bandwidth) + work.calls * BLOCK_S


def measured_rates() -> Rates:
    """Rates of this machine or its GPU, from products of matrices and a copy of 256 MiB; takes half a second."""
    import time

    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"

    def seconds(call) -> float:
        def once() -> float:
            start = time.perf_counter()
            call()
            if device == "cuda":
                torch.cuda.synchronize()
            return time.perf_counter() - start

        once()
        return min(once() for _ in range(5))

    size = 8192 if device == "cuda" else 1024
    speeds = []
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.ones(size, size, dtype=dtype, device=device)
        speeds.append(2 * size**3 / seconds(lambda a=a: a @ a))
    if not multiplies_bfloat16(device):
        speeds[1] = speeds[0]  # which is used instead
    source = torch.ones(2**26, device=device)
    target = torch.empty_like(source)
    return Rates(*speeds, 2 * source.nbytes / seconds(lambda: target.copy_(source)))


def stated(rates: Rates | None, flops: float | None, bandwidth: float | None) -> Rates:
    """Measured rates, replaced by those that the user states; without measured ones, both must be stated."""
    rates = rates or Rates(0.0, 0.0, 0.0)
    if flops is not None:
        rates = replace(rates, float32=flops, bfloat16=flops)
    return rates if bandwidth is None else replace(rates, bandwidth=bandwidth)
