"""States of the frozen trunk: computed once for all exits and uses, and kept on disk in bfloat16 if asked for."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from autocontrastive_gen.foundation.errors import FileError, InputError
from autocontrastive_gen.foundation.processes import Processes
from autocontrastive_gen.foundation.progress import ProgressBar
from autocontrastive_gen.foundation.resume import DIGITS, Kept, say_damaged, sync
from autocontrastive_gen.modeling.kept_states import KeptStates, recalled
from autocontrastive_gen.training.cast import NormalEquations
from autocontrastive_gen.training.corpus import TokenBlocks

TOKENS_AT_ONCE = 1024
"""Tokens in one pass of the trunk outside gradient steps."""
RECORD_SECONDS = 10.0
"""Time between records of the progress made."""

States = dict[int, Tensor]
"""Layer -> final-normed states, (blocks, T, d) or (n, d)."""


class FrozenTrunk:
    """A model without gradients, of which only the states at some layers are wanted.

    Args:
        model: a multi-exit model.
        layers: the layers, ascending; the last one is the model's last.
        dropout: whether the model's dropout is on.
        sharded: whether every pass is a joint one of all processes.
        keep: folder for the states of every pass, which others with the same trunk read; they must not be ``sharded``.
    """

    def __init__(
        self,
        model: Any,
        layers: tuple[int, ...],
        dropout: bool = False,
        sharded: bool = False,
        keep: Path | None = None,
    ) -> None:
        self.model, self.layers, self.dropout, self.sharded = model, layers, dropout, sharded
        self._kept = None if keep is None else KeptStates(keep, model)

    @property
    def vocabulary(self) -> int:
        """Number of tokens that the model can read."""
        return self.model.get_input_embeddings().num_embeddings

    @torch.no_grad()
    def __call__(self, tokens: Tensor) -> States:
        """The states (blocks, T, d) of ``tokens`` (blocks, T)."""
        self.model.train(self.dropout)
        run = partial(self.model.exit_states, tokens.to(self.model.device), layers=self.layers)
        if self._kept is None:
            return dict(run())
        return dict(recalled(self._kept, tuple(map(tuple, tokens.tolist())), {*self.layers}, run))

    def join(self) -> None:
        """Take part in a pass of the other processes, which need this one's shards, without text of its own."""
        if self.sharded:
            self(torch.zeros(1, 1, dtype=torch.int64))


class StateCache:
    """States of all blocks on disk: one bfloat16 file per layer, shared by the processes of a machine.

    Whoever writes states keeps their digest, and compares it when an interrupted run continues. The files are read and
    written in pieces, not mapped: what was once touched of a map counts as memory of the process.

    Raises:
        InputError: the processes are on several machines, which would not see each other's files.
    """

    def __init__(
        self, folder: Path, layers: tuple[int, ...], blocks: int, block_size: int, width: int, processes: Processes
    ) -> None:
        if processes.machines > 1:
            raise InputError(
                "cache_states: true is for the processes of one machine; set it to false on several machines"
            )
        self.folder = folder
        self.files = {layer: folder / f"states-{layer}.bf16" for layer in layers}
        self.shape = (block_size, width)
        self._block_bytes = block_size * width * torch.bfloat16.itemsize
        size = blocks * self._block_bytes
        for path in self.files.values() if processes.main else ():
            if not path.exists() or path.stat().st_size != size:
                _reserve(path, size)
        processes.wait()  # until the files are whole
        self._hashing = ThreadPoolExecutor()  # beside the trunk's next passes

    def write(self, blocks: slice, states: States) -> Future[str]:
        """Keep the states (blocks, T, d) of a slice of the blocks; returns their digest."""
        for layer, path in self.files.items():
            with open(path, "r+b") as file:
                file.seek(blocks.start * self._block_bytes)
                file.write(_bytes_of(states[layer].to("cpu", torch.bfloat16).contiguous()))
        return self.digest(blocks)

    def digest(self, blocks: slice) -> Future[str]:
        """Digest of what is kept of a slice of the blocks."""
        return self._hashing.submit(self._digest, blocks)

    def _digest(self, blocks: slice) -> str:
        digest = hashlib.sha256()
        for path in self.files.values():
            digest.update(_bytes_of(self._read(path, range(blocks.start, blocks.stop))))
        return digest.hexdigest()[:DIGITS]

    def sync(self) -> None:
        """Return once all that was written is on the disk."""
        for path in self.files.values():
            sync(path)

    def __getitem__(self, indices: Tensor) -> States:
        """The states (blocks, T, d) of the blocks numbered ``indices`` (blocks,)."""
        return {layer: self._read(path, indices.tolist()) for layer, path in self.files.items()}

    def _read(self, path: Path, blocks: Sequence[int]) -> Tensor:
        """The states (blocks, T, d) that a file holds of the blocks numbered ``blocks``."""
        states = torch.empty(len(blocks), *self.shape, dtype=torch.bfloat16)
        with open(path, "rb", buffering=0) as file:
            for block, piece in zip(blocks, states, strict=True):
                file.seek(block * self._block_bytes)
                if file.readinto(_bytes_of(piece)) != self._block_bytes:
                    raise FileError(f"{path}: shorter than it was made; run again, which makes it anew")
        return states


def _bytes_of(states: Tensor) -> memoryview:
    """The bytes of a contiguous tensor on the CPU, to be read or written in place."""
    return states.flatten().view(torch.uint8).numpy().data


def _reserve(path: Path, size: int) -> None:
    """Make a file of ``size`` bytes; where the system can reserve them, a full disk fails here and not by SIGBUS."""
    with open(path, "wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)


def collect(
    trunk: FrozenTrunk,
    blocks: TokenBlocks,
    processes: Processes,
    kept: Kept,
    *,
    equations: NormalEquations | None,
    fit_blocks: int,
    cache: StateCache | None,
) -> None:
    """Run the trunk once over the text: fit on the first ``fit_blocks`` blocks, and fill ``cache`` with all of them.

    Position 0 of each block, whose state is an outlier, is left out of the equations. Progress is recorded in
    ``kept``: after a kill, the same call continues from there and ends with the same bits. A sharded trunk, which no
    process can run alone, starts again.
    """
    final = trunk.layers[-1]
    size = max(1, TOKENS_AT_ONCE // blocks.block_size)
    last = len(blocks) if cache is not None else min(fit_blocks, len(blocks))
    passes = range(0, last, size)
    starts = processes.deal(passes)
    parts = [slice(start, min(start + size, last)) for start in starts]
    progress = Progress(kept, f"collected-{processes.rank}.safetensors", equations, cache)
    done = 0 if trunk.sharded else progress.resume(parts)
    bar = ProgressBar(parts, "trunk", initial=done, total=len(parts), unit=" passes")
    for number, part in enumerate(parts[done:], done + 1):
        states = trunk(blocks[part])
        if cache is not None:
            progress.digests.append(cache.write(part, states))
        fitted = max(0, min(part.stop, fit_blocks) - part.start)
        if equations is not None and fitted:
            rows = {layer: x[:fitted, 1:].flatten(0, 1) for layer, x in states.items()}
            equations.add(rows, rows[final])
        bar.update()
        progress.made(number, len(parts))
    bar.close()
    if processes.idle(len(passes)):
        trunk.join()
    if equations is not None:
        processes.sum(equations.state_dict().values())
    processes.wait()


class Progress:
    """How many passes a process has done, with the sums that they gave and the digests of the states they wrote."""

    def __init__(
        self, kept: Kept, name: str, equations: NormalEquations | None, cache: StateCache | None = None
    ) -> None:
        self.kept, self.name, self.equations, self.cache = kept, name, equations, cache
        self.digests: list[Future[str]] = []
        self._recorded = time.monotonic()

    def made(self, done: int, of: int) -> None:
        """Record that ``done`` passes are done, unless the last record is recent and there are more to come."""
        if done == of or time.monotonic() - self._recorded >= RECORD_SECONDS:
            self.record(done)
            self._recorded = time.monotonic()

    def record(self, done: int) -> None:
        """Store how many passes are done, their sums and their digests, once the states are on the disk."""
        if self.cache is not None:
            self.cache.sync()
        tensors = {"done": torch.tensor(done), **(self.equations.state_dict() if self.equations else {})}
        digests = json.dumps([digest.result() for digest in self.digests])
        with self.kept.write(self.name) as temporary:
            save_file(tensors, temporary, metadata={"digests": digests})

    def resume(self, parts: Sequence[slice] = ()) -> int:
        """Number of passes that an interrupted run has done; its sums replace those of ``equations``.

        Args:
            parts: the blocks of each pass, whose states must be those that were written.
        """
        if (path := self.kept.find(self.name)) is None:
            return 0
        with safe_open(path, "pt") as file:
            digests = json.loads(file.metadata()["digests"])
            state = {name: file.get_tensor(name) for name in file.keys()}
        if self.cache is not None:
            found = [self.cache.digest(part) for part in parts[: len(digests)]]
            if [digest.result() for digest in found] != digests:
                say_damaged(self.cache.folder / "states-*.bf16")
                return 0
            self.digests = found
        if self.equations is not None:
            self.equations.load_state_dict(state)
        return int(state["done"])


Source = Callable[[Tensor], States]
"""Block numbers (blocks,) to their states (blocks, T, d), from the cache or from another pass of the trunk."""


def source_of(trunk: FrozenTrunk, blocks: TokenBlocks, cache: StateCache | None) -> Source:
    """The cache if there is one, else the trunk."""
    if cache is not None:
        return cache.__getitem__
    return lambda indices: trunk(blocks[indices.numpy()])
