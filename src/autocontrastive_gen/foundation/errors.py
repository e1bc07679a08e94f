"""Errors that a user can correct. Everything else is a bug and keeps its traceback.

Commands end with one message and exit code 2 for these errors only (``foundation.commands``). They are also the
built-in kinds that a caller of the library expects: ``ValueError`` for a value, ``OSError`` for a file.
"""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Something that a user can correct; the message names what was given, what is allowed, and the remedy.

    Text of files from outside may stand in it, so what a terminal would act on or hide is shown as its escape.

    >>> issubclass(InputError, UserError) and issubclass(FileError, UserError)
    True
    >>> print(InputError("unknown key \x1b[2J"))
    unknown key \\x1b[2J
    """

    def __str__(self) -> str:
        return "".join(
            letter if letter.isprintable() or letter in "\n\t" else letter.encode("unicode_escape").decode()
            for letter in super().__str__()
        )


class InputError(UserError, ValueError):
    """A value that is not allowed: a parameter, an argument, the content of a file.

    >>> from autocontrastive_gen import TrainSettings
    >>> try:
    ...     TrainSettings(epochs=0)
    ... except ValueError as error:
    ...     print(type(error).__name__, error)
    InputError epochs of train must be a whole number of at least 1, got 0
    """


class FileError(UserError, OSError):
    """A file, folder, server or disk that cannot be used.

    >>> from autocontrastive_gen import AutoMultiExitModel
    >>> try:
    ...     AutoMultiExitModel.from_pretrained("gpt2", exits="nowhere")
    ... except OSError as error:
    ...     print(isinstance(error, FileError))
    True
    """


class MissingFileError(FileError, FileNotFoundError):
    """A file that does not exist; the message says what makes it."""


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """The question whether the nearest of the ``known`` names was meant; empty if none is near.

    >>> did_you_mean("lptop", ["smoke", "laptop"])
    'did you mean laptop?'
    """
    near = difflib.get_close_matches(str(name), known, 1)
    return f"did you mean {near[0]}?" if near else ""


def shown(value: object, most: int = 200) -> str:
    """A value as messages show it: its ``repr``, cut after ``most`` characters.

    >>> shown("ab"), shown("a" * 1000, most=4)
    ("'ab'", "'aaa…")
    """
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of more digits than Python prints, a value that is nested deeply
        return f"a value of type {type(value).__name__} that is too large to show"
    return text if len(text) <= most else f"{text[:most]}…"


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and those behind it: its causes, or what was being handled when it was raised."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


_NO_MEMORY = re.compile("(allocate|enough|out of) memory|bad_alloc|ALLOC_FAILED|failed to map segment", re.IGNORECASE)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was short: for Python, the system, or PyTorch, which raises RuntimeErrors, even on import.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(ValueError())
    (True, False)
    """
    return any(
        isinstance(each, MemoryError)
        or (isinstance(each, OSError) and each.errno == errno.ENOMEM)
        or (isinstance(each, RuntimeError | ImportError) and _NO_MEMORY.search(str(each)) is not None)
        for each in chain(error)
    )


def masked(text: str) -> str:
    """The text with the passwords of addresses replaced by asterisks.

    >>> masked("no answer from postgresql://me:secret@host/runs")
    'no answer from postgresql://me:***@host/runs'
    """
    return _PASSWORD.sub(r"\1:***@", text)


_PASSWORD = re.compile(r"([a-zA-Z][\w+.-]*://[^\s/:@]*):[^\s/@]+@")


@contextmanager
def mendable(what: str, kinds: tuple[type[Exception], ...] = (OSError, ValueError)) -> Iterator[None]:
    """Raise a library's complaint about input as a ``UserError``: ``what``, then the library's own message.

    Args:
        what: the subject of the message, such as the path of a model.
        kinds: the exceptions by which the library complains.

    Raises:
        FileError: the library raised an ``OSError``.
        InputError: it raised any other of ``kinds``.
    """
    try:
        yield
    except UserError:
        raise
    except kinds as error:
        kind = FileError if isinstance(error, OSError) else InputError
        said = str(error)
        if type(error).__name__ == "SafetensorError":  # no import: commands that read no weights start without it
            said = f"a file of weights is damaged ({error}): replace the model's files"
        if any(type(each).__name__ == "HFValidationError" for each in chain(error)):  # the hub's, of a path
            said = "there is no such folder, and the hub has no such names"
        raise kind(f"{what}: {said}") from error
