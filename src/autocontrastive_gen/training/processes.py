"""The processes of one training run: which of them this is, and sums over all of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import torch


@dataclass(frozen=True)
class Processes:
    """Rank, number and device of the processes that a launcher (``accelerate launch``, ``torchrun``) started."""

    rank: int = 0
    world: int = 1
    device: torch.device = torch.device("cpu")

    @classmethod
    def start(cls) -> Processes:
        """Join the process group that the environment describes; one process if it describes none."""
        from accelerate import PartialState

        # the first process works alone for long, on tokens and on the choice of the lower layer
        state = PartialState(cpu=not torch.accelerator.is_available(), timeout=timedelta(days=1))
        return cls(state.process_index, state.num_processes, state.device)

    @property
    def main(self) -> bool:
        return self.rank == 0

    def sum(self, tensors: Iterable[torch.Tensor]) -> None:
        """Replace each tensor by its sum over the processes; all get the same bits."""
        if self.world > 1:
            for tensor in tensors:
                torch.distributed.all_reduce(tensor)

    def wait(self) -> None:
        if self.world > 1:
            torch.distributed.barrier()
