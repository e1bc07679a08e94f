"""What the environment says about this process: cores, threads, the launcher that started it, and its shell."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

from autocontrastive_gen.foundation.errors import InputError

LAUNCHED = "AUTOCONTRASTIVE_LAUNCHED"
"""Variable that is set in a launched process: accelerate sets no rank if it starts a single process."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """Name of this machine's processor and its vector extensions, which decide the order of additions."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return platform.processor() or platform.machine()
    entries = [line.partition(":")[::2] for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    known = {key.strip(): value.strip() for key, value in reversed(entries)}
    flags = known.get("flags", known.get("Features", "")).split()
    vectors = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve") if name in flags]
    return " ".join([known.get("model name", platform.machine()), *vectors])


def multiplies_bfloat16(device: str) -> bool:
    """Whether products in bfloat16 are fast on a device ("cpu", "cuda", ...).

    A CPU without instructions for them takes several times as long as in float32.
    """
    import torch

    if device != "cpu":
        return True
    return torch.cpu._is_avx512_bf16_supported() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def threads(default: int) -> int:
    """OMP_NUM_THREADS, or its first number if it has one per level of nesting ("4,2"); ``default`` if it is not set.

    Raises:
        InputError: it is not a number.
    """
    given = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if not given:
        return default
    if not given.isdecimal() or int(given) == 0:
        value = os.environ["OMP_NUM_THREADS"]
        raise InputError(f"OMP_NUM_THREADS={value}: allowed: a number of threads of at least 1, or several such as 4,2")
    return int(given)


def activation() -> str:
    """What makes a shell find this interpreter's commands; "" where it does.

    ``make`` and ``.venv/bin/acd`` run without it, so what they tell a reader to try next may be out of reach.
    """
    place, active = Path(sys.prefix), os.environ.get("VIRTUAL_ENV")
    if sys.prefix == sys.base_prefix or (active and Path(active).resolve() == place.resolve()):
        return ""
    near = place.is_relative_to(Path.cwd())
    return f"source {place.relative_to(Path.cwd()) if near else place}/bin/activate"


def check_processes(world: int) -> None:
    """Refuse to run as one process (``world``) if the launcher was asked for several.

    ``accelerate launch --cpu --num_processes 2`` starts one process without MPI, and the run would be no faster.

    Raises:
        InputError: the launcher started one process instead of several.
    """
    launcher = os.environ.get(LAUNCHED, "")
    if world == 1 and "WORLD_SIZE" not in os.environ and "MASTER_PORT" in os.environ and "accelerate" in launcher:
        raise InputError(
            f"launcher: {launcher!r} was asked for several processes and started one; without a GPU write "
            "`accelerate launch --multi_gpu --num_processes <number>` (no --cpu), which uses gloo, or use torchrun"
        )
