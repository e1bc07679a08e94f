"""The frozen trunk in shards over the processes, for models that one device does not hold (FSDP2).

Only the blocks are sharded, each a unit that is gathered for its forward pass and freed after it. Embeddings, final
norm, head, exits and their optimizer stay whole in every process: training is data parallel in them as ever.
"""

from __future__ import annotations

from autocontrastive_gen.foundation.processes import Processes


def shard_trunk(model, processes: Processes) -> None:
    """Keep a share of each block's weights in this process, on its device; ``model`` lies on the CPU, whole.

    From now on every process must make the same number of passes, as each is a joint one. Gathering changes no bit.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(processes.device.type, (processes.world,))
    for block in model.get_submodule(model.anatomy.blocks).children():
        fully_shard(block, mesh=mesh, reshard_after_forward=True)
