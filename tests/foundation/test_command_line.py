"""Commands made of functions: options with several values, help on a pipe, and how they end."""

import os
import subprocess
import sys

import pytest

from autocontrastive_gen.foundation.command_line import repeated

CODE = '''
from typing import Annotated
import typer
from autocontrastive_gen.foundation import command_line, errors

def draw(keys: list[str], metrics: Annotated[list[str], typer.Option()] = [], size: int = 3) -> None:
    """Draw keys.

    Examples:

        draw a --metrics b c
        draw a --size 4
    """
    if size > 9:
        raise errors.InputError(f"--size {size}: at most 9")
    print(keys, metrics, size)

def erase() -> None:
    """Erase them."""
    print("gone")
'''
ONE = f"{CODE}\ncommand_line.command(draw, 'draw')(prog_name='draw')"
TWO = f"{CODE}\ncommand_line.group('board', 'A board.', draw=draw, erase=erase)(prog_name='board')"


def call(code, cwd, *arguments):
    return subprocess.run([sys.executable, "-c", code, *arguments], cwd=cwd, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["a", "--metrics", "b", "c", "--size", "4"], "['a'] ['b', 'c'] 4"),
        (["--metrics", "b", "--metrics", "c", "--", "a", "-d"], "['a', '-d'] ['b', 'c'] 3"),
        (["a", "b"], "['a', 'b'] [] 3"),
    ],
)
def test_an_option_with_a_list_takes_all_values_that_follow(tmp_path, given, expected):
    done = call(ONE, tmp_path, *given)
    assert done.returncode == 0 and done.stdout.strip() == expected, done.stderr


def test_values_of_other_options_are_left_alone():
    assert repeated(["--to", "a", "b", "-"], {"--metrics"}) == ["--to", "a", "b", "-"]
    assert repeated(["--metrics"], {"--metrics"}) == ["--metrics"]


def test_help_on_a_pipe_is_plain_and_keeps_the_lines_of_its_examples(tmp_path):
    done = call(ONE, tmp_path, "--help")
    assert "      draw a --metrics b c\n      draw a --size 4\n" in done.stdout and "[default: 3]" in done.stdout
    assert done.stdout.isascii() and "\033" not in done.stdout
    verbs = call(TWO, tmp_path, "-h").stdout
    assert "Draw keys." in verbs and "Erase them." in verbs and "A board." in verbs


@pytest.mark.parametrize("given", [["a", "--size", "10"], ["a", "--size", "x"], [], ["a", "--unknown"]])
def test_what_a_user_can_correct_ends_with_2_and_no_traceback(tmp_path, given):
    done = call(ONE, tmp_path, *given)
    assert done.returncode == 2 and done.stderr and "Traceback" not in done.stderr


def test_a_mistake_that_the_function_finds_is_reported_under_the_name_of_the_command(tmp_path):
    done = call(TWO, tmp_path, "draw", "a", "--size", "10")
    assert done.stderr.startswith("board: --size 10: at most 9\n") and ".scratch/logs/board.log" in done.stderr


def test_a_reader_of_the_output_that_leaves_ends_the_command_silently(tmp_path):
    code = f"{CODE}\ndef talk():\n    while True: print('word' * 1000)\ncommand_line.command(talk, 'talk')()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.read(10)
    process.stdout.close()
    assert process.wait(60) == 141 and process.stderr.read() == b""


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_fault(project, root, closed):
    """The first file that is opened must not get the number of a stream, or prints would go into it."""
    code = "import stages, autocontrastive_gen.foundation.command_line; f = open('out', 'w'); print(f.fileno(), file=f)"
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(f'"{sys.executable}" -c "{code}" {closed}', shell=True, env=environment)
    assert done.returncode == 0 and int((project / "out").read_text()) > 2
