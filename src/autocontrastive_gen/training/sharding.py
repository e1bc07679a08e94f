"""The frozen trunk sharded over the processes (FSDP2), for models that do not fit on one device.

Only the blocks are sharded, each as a unit that is gathered for its forward pass and freed after it. Embeddings, final
norm, head, exits and their optimizer stay whole in every process, and exits are trained data-parallel as usual.
"""

from __future__ import annotations

from typing import Any

from autocontrastive_gen.foundation.processes import Processes


def shard_trunk(model: Any, processes: Processes) -> None:
    """Keep a shard of each block's weights in this process, on its device.

    Afterwards every process must make the same number of passes, since each pass is a joint one. Gathering changes no
    bit of the result.

    Args:
        model: a multi-exit model, whole and on the CPU.
        processes: the processes to shard over.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(processes.device.type, (processes.world,))
    for block in model.get_submodule(model.anatomy.blocks).children():
        fully_shard(block, mesh=mesh, reshard_after_forward=True)
