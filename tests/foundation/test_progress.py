"""Bars on a terminal, lines on a pipe, and nothing on a pipe of a process that only uses the library."""

import io
import logging

import pytest

from autocontrastive_gen.foundation import console, progress
from autocontrastive_gen.foundation.progress import ProgressBar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def command(monkeypatch):
    """A function that makes this process a command which shows its progress on a stream."""

    def start(stream):
        own = console.Console("trial")
        own.shown = stream
        monkeypatch.setattr(console, "_console", own)
        return stream

    handlers = list(logging.root.handlers)
    yield start
    assert logging.root.handlers == handlers


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass between two looks at the clock."""
    now = [1000.0]

    class Time:
        @staticmethod
        def time():
            return now[0]

    monkeypatch.setattr(progress, "time", Time)
    return now


def test_a_pipe_gets_a_line_now_and_then(command, clock):
    stream = command(io.StringIO())
    for _ in ProgressBar(range(100), "texts", unit=" batches", mininterval=0):
        clock[0] += 1.0
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert all(line.startswith("trial: texts: ") and " of 100 batches, " in line for line in lines)
    assert "\r" not in stream.getvalue()


def test_the_end_of_work_is_no_line_of_its_own(command, clock):
    stream = command(io.StringIO())
    with ProgressBar(total=1, desc="texts", mininterval=0) as bar:
        clock[0] += 100.0
        bar.update(1)
    assert stream.getvalue() == ""


def test_short_work_says_nothing_on_a_pipe(command):
    stream = command(io.StringIO())
    with ProgressBar(total=5, desc="texts") as bar:
        bar.update(3)
        bar.set_postfix_str("loss 1")
        bar.update(2)
    assert stream.getvalue() == ""


def test_work_of_unknown_extent_says_how_far_it_is(command, clock):
    stream = command(io.StringIO())
    bar = ProgressBar(iter(range(40)), "documents", mininterval=0)
    for _ in bar:
        clock[0] += 31.0
    assert stream.getvalue().splitlines()[0].startswith("trial: documents: 1")


def test_a_terminal_gets_a_bar_that_goes_away(command):
    stream = command(Terminal())
    list(ProgressBar(range(3), "texts"))
    assert "texts: 100%" in stream.getvalue() or "texts:   0%" in stream.getvalue()
    assert stream.getvalue().endswith("\r")


def test_other_processes_than_the_first_are_silent(command, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    stream = command(Terminal())
    list(ProgressBar(range(3), "texts"))
    assert stream.getvalue() == ""


def test_a_library_shows_no_bar_on_a_pipe(monkeypatch, capsys):
    monkeypatch.setattr(console, "_console", None)
    assert sum(ProgressBar(range(4), "texts")) == 6
    assert capsys.readouterr().err == ""
