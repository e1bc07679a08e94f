"""What a block of work costs: wall time, CPU time, peak memory, device."""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autocontrastive_gen.foundation.environment import processor
from autocontrastive_gen.foundation.files import write_json


@contextmanager
def cost_meter(path: Path) -> Iterator[dict]:
    """Measure the block and write its cost; the block may add entries (such as ``tokens``) to the dict it gets."""
    start, cpu = time.perf_counter(), _cpu_seconds()
    extra: dict[str, Any] = {}
    yield extra
    if int(os.environ.get("RANK", "0")):  # of several processes, only the first writes
        return
    write_json(path, {"wall_s": time.perf_counter() - start, "cpu_s": _cpu_seconds() - cpu, **_machine(), **extra})


def duration(seconds: float) -> str:
    """As in ``9.5 s``, ``3 min 20 s`` and ``2 h 5 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _cpu_seconds() -> float:
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def _machine() -> dict[str, Any]:
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    unit = 1 if platform.system() == "Darwin" else 1024
    machine = {"peak_rss_bytes": peak * unit, "cores": os.cpu_count(), "processor": processor(), "device": "cpu"}
    torch = sys.modules.get("torch")
    if torch is not None:
        machine["threads"] = torch.get_num_threads()
        if torch.cuda.is_available():
            machine |= {"device": torch.cuda.get_device_name(), "peak_gpu_bytes": torch.cuda.max_memory_allocated()}
    return machine
