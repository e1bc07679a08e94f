"""Speed in paired rounds: every way of doing something runs once per round, and ratios are taken within a round."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from autocontrastive_gen.foundation.progress import ProgressBar


class Meter:
    """Measures CPU seconds of the process, or seconds on the GPU, and the memory that a run adds."""

    def __init__(self, device: str) -> None:
        self.cuda = device.startswith("cuda")

    def seconds(self, run: Callable[[], object]) -> float:
        """Time of one run."""
        if not self.cuda:
            start = time.process_time()
            run()
            return time.process_time() - start
        import torch

        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        run()
        last.record()
        torch.cuda.synchronize()
        return first.elapsed_time(last) / 1000

    def peak_megabytes(self, run: Callable[[], object]) -> float:
        """Growth of the highest resident (or device) memory during a run."""
        if self.cuda:
            import torch

            torch.cuda.reset_peak_memory_stats()
            allocated = torch.cuda.memory_allocated()
            run()
            return (torch.cuda.max_memory_allocated() - allocated) / 1e6
        before = _resident(reset=True)
        run()
        return max(0.0, _resident() - before)


def _resident(reset: bool = False) -> float:
    """Highest resident set of the process in MB; on Linux, since the last reset that the kernel allowed."""
    try:
        if reset:
            with suppress(OSError):  # some sandboxes forbid it: then the peak is that of the whole process
                Path("/proc/self/clear_refs").write_text("5")
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1e3
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def rounds(ways: Mapping[str, Callable[[], object]], count: int, meter: Meter, title: str) -> dict[str, list[float]]:
    """Seconds of each way in each of ``count`` rounds, in an order that rotates from round to round."""
    names = list(ways)
    times: dict[str, list[float]] = {name: [] for name in names}
    for i in ProgressBar(range(count), title, leave=False):
        first = i % len(names)
        for name in names[first:] + names[:first]:
            times[name].append(meter.seconds(ways[name]))
    return times


@dataclass(frozen=True)
class Relative:
    """The cost of one way in units of another, with the interquartile range over rounds."""

    median: float
    low: float
    high: float


def relative(times: list[float], base: list[float]) -> Relative:
    """Ratios of ``times`` to ``base``, taken within rounds."""
    ratios = [one / other for one, other in zip(times, base, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return Relative(statistics.median(ratios), low, high)
