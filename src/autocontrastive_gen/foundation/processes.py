"""The processes of one stage: which one this is, on which device, and what they do together."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import torch

from autocontrastive_gen.foundation.environment import check_processes, cores, threads
from autocontrastive_gen.foundation.errors import InputError

TIMEOUT = timedelta(days=1)
"""How long a process waits for another: the first one works alone for a long time, such as when it tokenizes."""


@dataclass(frozen=True)
class Processes:
    """Rank, number and device of the processes that a launcher (``accelerate launch``, ``torchrun``) started."""

    rank: int = 0
    world: int = 1
    device: torch.device = torch.device("cpu")
    machines: int = 1
    sharded: bool = False
    """Whether the trunk of a model in training is sharded over the processes (accelerate's FSDP, version 2)."""

    @classmethod
    def start(cls) -> Processes:
        """Join the process group that the environment describes; without one, there is a single process.

        This also sets the number of threads: OMP_NUM_THREADS if given, else this process's share of the cores, because
        threads that outnumber the cores wait for each other. And it keeps freed memory (``keep_memory``).

        Raises:
            InputError: the launcher was asked for several processes and started one.
        """
        from accelerate import PartialState

        # with cpu=True, accelerate uses the CPU's process group (gloo); without it, a CPU machine would see one process
        state = PartialState(cpu=not torch.accelerator.is_available(), timeout=TIMEOUT)
        check_processes(state.num_processes)
        local = int(os.environ.get("LOCAL_WORLD_SIZE", state.num_processes))
        torch.set_num_threads(threads(max(1, cores() // local)))
        keep_memory()
        world = state.num_processes
        return cls(state.process_index, world, state.device, world // local, world > 1 and _wants_shards())

    @property
    def main(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    @property
    def share(self) -> tuple[int, int]:
        """Index of this process, and the number of processes."""
        return self.rank, self.world

    def deal(self, items: range) -> range:
        """This process's part of ``items``, which are dealt out in turn."""
        return items[self.rank :: self.world]

    def idle(self, items: int) -> bool:
        """Whether other processes get one item more than this one when ``items`` are dealt out."""
        return self.rank >= items % self.world > 0

    def sum(self, tensors: Iterable[torch.Tensor]) -> None:
        """Replace each tensor by its sum over the processes; all get the same bits."""
        if self.world > 1:
            for tensor in tensors:
                torch.distributed.all_reduce(tensor)

    def wait(self) -> None:
        """Return once every process has come this far."""
        if self.world > 1:
            torch.distributed.barrier()


def keep_memory() -> None:
    """Let this process use freed memory again instead of giving it back, which glibc does with every large tensor.

    The system fills each page anew, with zeros, when it is first touched: a quarter of the CPU time of a pass over 48
    texts. Where glibc is not the allocator, nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)


_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Of malloc.h: free bytes at the end of the heap that are given back, and the number of blocks mapped on their own."""


def _wants_shards() -> bool:
    """Whether accelerate's configuration asks for FSDP.

    Raises:
        InputError: it asks for the version that wraps whole models.
    """
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() != "true":
        return False
    if (version := os.environ.get("FSDP_VERSION", "1")) != "2":
        raise InputError(f"fsdp_version: {version} in accelerate's configuration is not supported; allowed: 2")
    os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"  # transformers would load weights in one process only
    return True
