"""What hypothesis draws for the tests of everything that reads something from outside, and how much of it."""

import functools
import inspect
import json
import math
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autocontrastive_gen.foundation.errors import UserError
from autocontrastive_gen.foundation.named import Named, Range


def budget(few: int, many: int, **drawn: st.SearchStrategy) -> Callable:
    """A property of what is ``drawn``: ``few`` examples in ``make test``, ``many`` in ``make test-all``."""

    def decorate(test: Callable) -> Callable:
        def run(examples: int, **fixtures: Any) -> None:
            checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
            limits = settings(max_examples=examples, suppress_health_check=checks)
            limits(given(**drawn)(test))(**fixtures)

        run.__name__, run.__doc__ = test.__name__, test.__doc__
        signature = inspect.signature(test)
        first = inspect.Parameter("examples", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        others = [parameter for name, parameter in signature.parameters.items() if name not in drawn]
        run.__signature__ = signature.replace(parameters=[first, *others])
        marks = [pytest.mark.slow, pytest.mark.exhaustive]
        tiers = [pytest.param(few, id="few"), pytest.param(many, id="many", marks=marks)]
        return pytest.mark.parametrize("examples", tiers)(run)

    return decorate


@contextmanager
def bounded(seconds: float = 20, megabytes: float = 100) -> Iterator[None]:
    """Fail if a block takes longer, or if Python's objects within it take more memory."""
    tracemalloc.start()
    started = time.perf_counter()
    try:
        yield
        taken, peak = time.perf_counter() - started, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert taken < seconds and peak < megabytes * 1e6, f"{taken:.1f} s, {peak / 1e6:.0f} MB"


def outcome(work: Callable[[], Any]) -> Any:
    """The result of some work, or the project's own error with its message; any other exception is a failure."""
    try:
        return work()
    except UserError as error:
        assert str(error) and all(letter.isprintable() or letter in "\n\t" for letter in str(error))
        return error


# Text --------------------------------------------------------------------------------------------------------------

MARKUP = st.sampled_from(
    ["|", "\\", "\\|", "&", "&lt;", "&#65;", "<b>", "</td>", "<!--", "`", "``", "*a*", "_a_", "a_b", "~~a~~", "[a](b)",
     "![", "$x$", "%", "#", "{", "}", "^", "--", "---", "''", "?`", "\"", ",,", "<<", "[", "]", "*", "\n", "\r", "\r\n",
     "\n\n", "\t", "  ", "\x00", "\x1b", ",", ";", "–", "−", "≥", "…", "∞", "é", "光", "🙂", "\u200d", "\u2028"]
)  # fmt: skip
TEXT = st.lists(MARKUP | st.text(max_size=4), max_size=8).map("".join)
"""Text that is full of what the formats of tables take for markup."""

# Values that do not belong where they are put -----------------------------------------------------------------------

JUNK = st.recursive(
    st.sampled_from(
        [None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**70), 0.5, -0.0, 1e-320, 1e308, math.inf, -math.inf,
         math.nan, "", " ", "0", "1e3", "null", "x" * 1000, "../x", "/x", "~x", "\x00", "\ud800", "\u202e", "original",
         "all", "auto", "acd", "greedy", "made-a"]
    )
    | st.text(alphabet=st.characters(exclude_characters=":"), max_size=6),  # module:function would be imported
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip

YAML_JUNK = JUNK | st.dates() | st.dictionaries(st.none() | st.booleans() | st.integers(), st.none(), max_size=2)
"""Values that YAML has and JSON has not."""


def _places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Paths to all entries of a JSON-like value."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield (*path, key)
        yield from _places(entry, (*path, key))


@st.composite
def altered(draw: Callable, content: Any, junk: st.SearchStrategy = JUNK) -> Any:
    """The JSON-like ``content`` with some entries replaced by junk or by each other, removed, or added."""
    content = deepcopy(content)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(content))
        if not places:
            break
        *parents, key = draw(st.sampled_from(places))
        target = functools.reduce(lambda value, part: value[part], parents, content)
        match draw(st.sampled_from(["replace", "copy", "remove", "add"])):
            case "replace":
                target[key] = draw(junk)
            case "copy":
                source = draw(st.sampled_from(places))
                target[key] = deepcopy(functools.reduce(lambda value, part: value[part], source, content))
            case "remove":
                del target[key]
            case "add" if isinstance(target, dict):
                target[draw(st.text(max_size=5))] = draw(junk)
            case "add":
                target.insert(key, draw(junk))
    return content


@st.composite
def damaged(draw: Callable, content: bytes, within: int | None = None) -> bytes:
    """The bytes of a file with some of them, of the first ``within``, overwritten, taken out, put in, or cut off."""
    found = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at, size = draw(st.integers(0, min(len(found), within or len(found)))), draw(st.sampled_from([1, 1, 4, 8, 64]))
        match draw(st.sampled_from(["flip", "overwrite", "remove", "insert", "repeat", "cut"])):
            case "flip" if at < len(found):
                found[at] ^= 1 << draw(st.integers(0, 7))
            case "overwrite":
                found[at : at + size] = draw(st.binary(max_size=size) | st.sampled_from([b"\xff" * size, bytes(size)]))
            case "remove":
                del found[at : at + size]
            case "insert":
                found[at:at] = draw(st.binary(max_size=size))
            case "repeat":
                found[at:at] = found[at : at + size] * 3
            case "cut":
                del found[at:]
    return bytes(found)


def json_bytes(content: Any) -> bytes:
    """JSON as a program may write it, with half characters and infinities."""
    return json.dumps(content).encode()


# Parameters of named methods ----------------------------------------------------------------------------------------


def values_of(allowed: Range) -> st.SearchStrategy:
    """Values that a range allows."""
    if allowed.choices:
        return st.sampled_from(allowed.choices)
    if allowed.kind is bool:
        return st.booleans()
    if allowed.kind is int:
        low = max(allowed.low, allowed.above + 1, 0)
        return st.integers(int(low), int(min(allowed.high, low + 30)))
    if allowed.kind is float:
        low, high = max(allowed.low, allowed.above, -1e3), min(allowed.high, 1e3)
        return st.floats(low, high, exclude_min=allowed.above > -math.inf)
    raise NotImplementedError(f"values for {allowed}")


@st.composite
def parameters_of(draw: Callable, cls: type[Named]) -> dict[str, Any]:
    """Some of the parameters of a method, with values that it allows; its layers and weights keep their defaults."""
    free = {
        field.name: field.metadata["range"]
        for field in fields(cls)
        if "range" in field.metadata and field.metadata["range"].kind in (int, float, bool, str)
        and not field.metadata["range"].many
    }  # fmt: skip
    names = draw(st.lists(st.sampled_from(sorted(free)), unique=True)) if free else []
    return {name: draw(values_of(free[name])) for name in names}
