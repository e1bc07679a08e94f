"""Paired rounds: every way runs once per round, each first in turn; ratios are taken within rounds."""

import subprocess
import sys

import pytest

from autocontrastive_gen.foundation.timing import Meter, relative, rounds


def test_the_order_rotates_and_each_way_keeps_its_times():
    ran = []

    class Clock(Meter):
        def seconds(self, run):
            run()
            return len(ran)

    ways = {name: lambda name=name: ran.append(name) for name in "abc"}
    assert rounds(ways, 3, Clock("cpu"), "test") == {"a": [1, 6, 8], "b": [2, 4, 9], "c": [3, 5, 7]}
    assert "".join(ran) == "abcbcacab"


def test_ratios_are_taken_within_rounds():
    cost = relative([2.0, 30.0, 4.0], [1.0, 10.0, 1.0])  # 2, 3, 4
    assert (cost.median, cost.low, cost.high) == (3.0, 2.0, 4.0)
    assert relative([3.0], [2.0]).low == 1.5


MEMORY = """
import mmap
from autocontrastive_gen.foundation.timing import Meter

def touch():
    pages = mmap.mmap(-1, 64_000_000)
    for start in range(0, len(pages), mmap.PAGESIZE):
        pages[start] = 1

print(Meter("cpu").peak_megabytes(touch))
"""


def test_memory_is_what_a_run_adds():
    # Fresh pages in a fresh process: an allocator may serve 64 MB from what it already holds, and then nothing grows.
    grown = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True).stdout
    assert float(grown) == pytest.approx(64, abs=8)


def test_seconds_of_work_are_measured():
    assert Meter("cpu").seconds(lambda: sum(range(10**5))) > 0
