"""Running a part of a model's blocks: ended early, its states kept, its output matrix spared.

What a pass asks lies with its thread, and taps on the model's own modules act on it, so that the family's forward runs
as it is and other threads see the whole model at all times.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


class _Run(threading.local):
    """What the pass of the current thread asks of the trunk, and what the taps found."""

    depth: int | None = None
    """Blocks to run; None: all."""
    wanted: tuple[int, ...] = ()
    """Layers whose states are to be kept."""
    states: dict[int, Tensor]
    """Layer -> its state (B, T, d), not normed."""
    head: nn.Module | None = None
    """The output matrix, to be given no rows."""
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
    """A pass through every block, unless one is running: families that slice their list get a plain one, at 1/100 of
    what a new ModuleList a step costs."""
    if _run.depth is not None:
        yield
        return
    _run.depth = sys.maxsize
    try:
        yield
    finally:
        _run.depth = None


class Trunk(nn.ModuleList):
    """The blocks of a model; the loop over them ends early where the running pass says so.

    Nothing is moved or swapped, so parameters, state dict and other threads see the whole model at all times.
    """

    def __len__(self) -> int:
        return len(self._modules) if _run.depth is None else min(_run.depth, len(self._modules))

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values() if _run.depth is None else self._seen())

    def __getitem__(self, index: int | slice) -> Any:
        # A pass that wraps the blocks wants them so even where they are called by number.
        if _run.depth is not None and (isinstance(index, slice) or _run.wrap is not None):
            return self._seen()[index]
        return super().__getitem__(index)

    def _seen(self) -> list[Any]:
        """The blocks as the running pass sees them."""
        blocks = list(self._modules.values())[: _run.depth]
        return blocks if _run.wrap is None else [_run.wrap(i, block) for i, block in enumerate(blocks, 1)]


@dataclass(frozen=True)
class LayerTap:
    """Forward hook of block ``layer``: hands its output to a pass that wants it."""

    layer: int

    def __call__(self, block: nn.Module, inputs: tuple, output: Any) -> None:
        if self.layer in _run.wanted:
            _run.states[self.layer] = state_in(output)


@dataclass(frozen=True)
class HeadTap:
    """Forward pre-hook of the output matrix: keeps what it would see and gives it no rows to multiply."""

    def __call__(self, head: nn.Module, inputs: tuple) -> tuple | None:
        if _run.head is not head:
            return None
        _run.head_input = inputs[0]
        return (inputs[0][..., :0, :], *inputs[1:])


def tap_head(head: nn.Module) -> None:
    """Make an output matrix one that ``trunk_run`` can spare."""
    if not any(isinstance(hook, HeadTap) for hook in head._forward_pre_hooks.values()):
        head.register_forward_pre_hook(HeadTap())


def state_in(output: Any) -> Any:
    """The hidden state among what a module returns."""
    if isinstance(output, Tensor):
        return output
    return output[0] if isinstance(output, list | tuple) or hasattr(output, "to_tuple") else output
