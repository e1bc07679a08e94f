"""Running part of a model: ending its loop over blocks early, keeping states, skipping its output matrix.

What a pass asks for is stored per thread and read by hooks on the model's own modules: the family's forward runs
unchanged, and other threads see the whole model at all times.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


class _Run(threading.local):
    """What the pass of the current thread asks of the trunk, and what the hooks found."""

    depth: int | None = None
    """Blocks to run; None: all."""
    wanted: tuple[int, ...] = ()
    """Layers whose states are kept."""
    states: dict[int, Tensor]
    """Layer -> its state (B, T, d) before the final norm."""
    head: nn.Module | None = None
    """The output matrix, which is to multiply no rows."""
    head_input: Any = None
    """What the output matrix would have seen, (B, T, d)."""
    wrap: Callable[[int, nn.Module], Callable] | None = None
    """(layer, block) -> what the loop over blocks calls in its place."""


_run = _Run()


@contextmanager
def trunk_run(
    depth: int | None,
    layers: tuple[int, ...],
    head: nn.Module | None,
    wrap: Callable[[int, nn.Module], Callable] | None = None,
) -> Iterator[_Run]:
    """Within it, a model's forward runs ``depth`` blocks, keeps the states of ``layers`` and skips ``head``."""
    before = _run.__dict__.copy()
    _run.__dict__.update(depth=depth, wanted=layers, states={}, head=head, head_input=None, wrap=wrap)
    try:
        yield _run
    finally:
        _run.__dict__.clear()
        _run.__dict__.update(before)


@contextmanager
def whole_trunk() -> Iterator[None]:
    """A pass through every block, unless one is running.

    Families that slice their list of blocks then get a plain list, at 1/100 of the cost of a new ModuleList per step.
    """
    if _run.depth is not None:
        yield
        return
    _run.depth = sys.maxsize
    try:
        yield
    finally:
        _run.depth = None


class Trunk(nn.ModuleList):
    """The blocks of a model; the loop over them ends early where the running pass asks for it.

    No module is moved, so parameters, state dict and other threads see the whole model at all times.
    """

    def __len__(self) -> int:
        return len(self._modules) if _run.depth is None else min(_run.depth, len(self._modules))

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values() if _run.depth is None else self._seen())

    def __getitem__(self, index: int | slice) -> Any:
        # Families that call blocks by number get wrapped blocks, too, where the pass wraps them.
        if _run.depth is not None and (isinstance(index, slice) or _run.wrap is not None):
            return self._seen()[index]
        return super().__getitem__(index)

    def _seen(self) -> list[Any]:
        """The blocks as the running pass sees them."""
        blocks = list(self._modules.values())[: _run.depth]
        return blocks if _run.wrap is None else [_run.wrap(i, block) for i, block in enumerate(blocks, 1)]


@dataclass(frozen=True)
class LayerTap:
    """Forward hook of block ``layer``: hands its output to a pass that keeps it."""

    layer: int

    def __call__(self, block: nn.Module, inputs: tuple, output: Any) -> None:
        if self.layer in _run.wanted:
            _run.states[self.layer] = state_in(output)


@dataclass(frozen=True)
class HeadTap:
    """Forward pre-hook of the output matrix: keeps its input and passes it no rows."""

    def __call__(self, head: nn.Module, inputs: tuple) -> tuple | None:
        if _run.head is not head:
            return None
        _run.head_input = inputs[0]
        return (inputs[0][..., :0, :], *inputs[1:])


def tap_head(head: nn.Module) -> None:
    """Let ``trunk_run`` skip an output matrix."""
    if not any(isinstance(hook, HeadTap) for hook in head._forward_pre_hooks.values()):
        head.register_forward_pre_hook(HeadTap())


def state_in(output: Any) -> Any:
    """The hidden state among what a module returns."""
    if isinstance(output, Tensor):
        return output
    return output[0] if isinstance(output, list | tuple) or hasattr(output, "to_tuple") else output
