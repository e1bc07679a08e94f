"""Commands with typed options: functions whose annotations say what they take, read by Typer.

Typer comes with transformers. On a terminal, help is laid out by rich; on a pipe it is plain text.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from autocontrastive_gen.foundation.commands import run
from autocontrastive_gen.foundation.errors import InputError, mendable


def _open_streams() -> None:
    """Put the null device in place of standard streams that are closed: the next file opened would get their number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))


_open_streams()


def command(function: Callable[..., None], name: str, purpose: str = "", **settings: Any) -> typer.Typer:
    """A command made of one function.

    Args:
        function: its parameters are the arguments and options, declared by ``Annotated[type, typer.Option(...)]``.
        name: the command's name in messages and in that of its log file.
        purpose: what ``--help`` says above the options; by default the function's docstring.
        settings: further settings of ``typer.Typer.command``.
    """
    application = typer.Typer(**layout())
    settings = {"cls": Command, "context_settings": HELP_OPTIONS, **settings}
    application.command(name, help=purpose or inspect.getdoc(function), **settings)(guarded(function, name))
    return application


def group(name: str, purpose: str, **functions: Callable[..., None]) -> typer.Typer:
    """A command made of several verbs; each function's docstring is the help of its verb."""
    application = typer.Typer(cls=Group, help=purpose, no_args_is_help=True, context_settings=HELP_OPTIONS, **layout())
    application.callback()(lambda: None)
    for verb, function in functions.items():
        application.command(verb, cls=Command, context_settings=HELP_OPTIONS)(guarded(function, name))
    return application


def layout() -> dict[str, Any]:
    """Settings of every ``typer.Typer``: rich on a terminal, plain text elsewhere, and tracebacks as Python's own."""
    mode = "markdown" if sys.stdout.isatty() and sys.stderr.isatty() else None
    return {"add_completion": False, "rich_markup_mode": mode, "pretty_exceptions_enable": False}


HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}


def guarded(function: Callable[..., None], name: str) -> Callable[..., None]:
    """The function, ended as ``foundation.commands.run`` ends commands."""

    @functools.wraps(function)
    def command_(*arguments: Any, **options: Any) -> None:
        run(lambda: function(*arguments, **options), name)

    return command_


def given_text(option: str, text: str) -> str:
    """The text that an option was given, or standard input for ``-``.

    Raises:
        InputError: it is no text in UTF-8.
    """
    with mendable(f"{option} {'-' if text == '-' else ''}".rstrip() + ": is no text in UTF-8", (UnicodeError,)):
        found = sys.stdin.read().rstrip("\n") if text == "-" else text
        found.encode()  # bytes that are no text come in as surrogates
    return found


@contextmanager
def pipeline_packages(what: str) -> Iterator[None]:
    """Raise the absence of a package of the pipeline as an ``InputError`` that says how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "stages", "autocontrastive_gen"):
            raise
        extra = "pip install 'autocontrastive-suite[pipeline]'"
        raise InputError(f"{what} needs the package {package}, which is not installed: {extra}") from error


def built(application: typer.Typer) -> TyperCommand | TyperGroup:
    """The command or group that an application stands for, to be put below another one."""
    return get_command(application)  # type: ignore[return-value]


class _PlainHelp:
    """Help on a pipe: the text as it is written, without wrapping its examples into paragraphs."""

    help: str | None

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        formatter.write_paragraph()
        for line in (self.help or "").replace("``", "`").splitlines():
            formatter.write(f"{'  ' if line else ''}{line}\n")


class Command(_PlainHelp, TyperCommand):
    """A command whose options with a list take all values that follow: ``--metrics diversity coherence``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        lists = {name for each in self.params if getattr(each, "multiple", False) for name in each.opts}
        return super().parse_args(ctx, repeated(args, lists))


class Group(_PlainHelp, TyperGroup):
    """A command with verbs."""


def repeated(args: list[str], lists: set[str]) -> list[str]:
    """Arguments in which each value of an option of ``lists`` has the option before it.

    >>> repeated(["key", "--metrics", "a", "b", "--to", "c"], {"--metrics"})
    ['key', '--metrics', 'a', '--metrics', 'b', '--to', 'c']
    """
    found: list[str] = []
    option = ""
    for place, argument in enumerate(args):
        if argument == "--":
            return found + args[place:]
        if argument.startswith("-") and argument != "-":
            option = argument if argument in lists else ""
            found.append(argument)
            continue
        if option and found[-1] != option:
            found.append(option)
        found.append(argument)
    return found
