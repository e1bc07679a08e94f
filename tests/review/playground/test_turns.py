"""Threads that take turns: one at a time, and none starves."""

import threading
import time

from autocontrastive_gen.review.playground.turns import Turns


def test_one_at_a_time_and_in_order():
    turns, log, inside = Turns(), [], []

    def work(name):
        with turns.turn():
            for _ in range(5):
                inside.append(name)
                time.sleep(0.002)
                assert inside == [name], "nobody else computes"
                inside.pop()
                log.append(name)
                turns.pass_on()

    threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    with turns.turn():
        for thread in threads:
            thread.start()
            time.sleep(0.02)
    for thread in threads:
        thread.join(timeout=10)
    assert "".join(log) == "abc" * 5


def test_alone_nobody_waits():
    turns = Turns()
    with turns.turn():
        turns.pass_on()
    with turns.turn():
        pass


def test_a_failure_gives_the_turn_up():
    turns = Turns()
    for _ in range(2):
        try:
            with turns.turn():
                raise ValueError
        except ValueError:
            pass
