"""Paired rounds: every way runs once per round, each first in turn; ratios are taken within rounds."""

import pytest
import torch

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


def test_memory_is_what_a_run_adds():
    meter = Meter("cpu")
    grown = meter.peak_megabytes(lambda: torch.ones(16_000_000).sum())  # 64 MB
    assert grown == pytest.approx(64, abs=16)
    assert meter.seconds(lambda: sum(range(10**5))) > 0
