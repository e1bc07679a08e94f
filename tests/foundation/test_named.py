"""Ranges of parameters, and registries that find their classes."""

import sys
from dataclasses import dataclass
from typing import ClassVar

import pytest

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.foundation.named import Named, Range, build, describe, parameter

PACKAGE = """
from dataclasses import dataclass
from typing import ClassVar

from autocontrastive_gen.foundation.named import Named, Registry, parameter

SHAPES = Registry("shape", __name__)
"""
CIRCLE = """
from dataclasses import dataclass
from typing import ClassVar

from shapes import SHAPES
from autocontrastive_gen.foundation.named import Named, parameter


@SHAPES.register
@dataclass(frozen=True)
class Circle(Named):
    name: ClassVar[str] = "circle"
    radius: float = parameter(1.0, "Half its width.", above=0)
"""


@pytest.mark.parametrize(
    ("allowed", "given", "value"),
    [
        (Range(), "0.5", 0.5),
        (Range(int), "3", 3),
        (Range(bool), "true", True),
        (Range(bool), False, False),
        (Range(str, choices=("low", "high")), "low", "low"),
        (Range(int, many=True), "2; 4", (2, 4)),
        (Range(int, many=True), [2, 4], (2, 4)),
        (Range(int, many=True), 2, (2,)),
        (Range(optional=True), None, None),
    ],
)
def test_values_and_their_text_forms(allowed, given, value):
    assert allowed.read(given) == value


@pytest.mark.parametrize(
    ("allowed", "given", "words"),
    [
        (Range(low=0, high=1), 1.5, "a number from 0 to 1"),
        (Range(above=0), 0, "a number above 0"),
        (Range(above=0), float("inf"), "a number above 0"),
        (Range(), float("nan"), "a number"),
        (Range(int, low=1), 2.5, "a whole number of at least 1"),
        (Range(int, low=1), True, "a whole number of at least 1"),
        (Range(high=-100, optional=True), -1, "a number of at most -100 or null"),
        (Range(bool), "maybe", "true or false"),
        (Range(str, choices=("low", "high")), "middle", "low or high"),
        (Range(int, many=True), [1, "two"], "whole numbers"),
        (Range(int, words="a lucky number"), "seven", "a lucky number"),
    ],
)
def test_what_is_not_allowed_is_said_in_words(allowed, given, words):
    @dataclass(frozen=True)
    class Thing(Named):
        name: ClassVar[str] = "thing"
        size: object = parameter(None, "Its size.", **vars(allowed))

    with pytest.raises(InputError) as error:
        Thing(given)
    assert str(error.value) == f"size of thing must be {words}, got {given!r}"


@pytest.fixture
def shapes(tmp_path, monkeypatch):
    """The registry of a package in which one file makes one class."""
    (tmp_path / "shapes").mkdir()
    (tmp_path / "shapes" / "__init__.py").write_text(PACKAGE)
    (tmp_path / "shapes" / "circle.py").write_text(CIRCLE)
    monkeypatch.syspath_prepend(tmp_path)
    from shapes import SHAPES

    yield SHAPES
    for name in ("shapes", "shapes.circle", "shapes.square"):
        sys.modules.pop(name, None)


def test_a_new_class_is_one_file(shapes, tmp_path):
    square = CIRCLE.replace("Circle", "Square").replace("circle", "square").replace("radius", "side")
    (tmp_path / "shapes" / "square.py").write_text(square)
    assert list(shapes) == ["circle", "square"]
    assert shapes.build("square", {"side": "2"}).parameters == {"side": 2.0}
    assert describe(shapes["circle"]) == [("radius", 1.0, "a number above 0", "Half its width.")]


def test_unknown_names_and_parameters_get_the_nearest(shapes):
    with pytest.raises(InputError, match=r"'circel' is not a shape; there are: circle \(did you mean circle\?\)"):
        shapes.build("circel", {})
    with pytest.raises(InputError, match=r"circle has no parameter 'radios'; it takes radius \(did you mean radius"):
        build(shapes["circle"], {"radios": 1})


def test_a_name_is_taken_once_and_can_be_freed(shapes):
    @dataclass(frozen=True)
    class Other(Named):
        name: ClassVar[str] = "circle"

    assert "circle" in shapes
    assert shapes.register(shapes["circle"]).name == "circle"  # a module that is loaded twice registers twice
    with pytest.raises(InputError, match="a shape named 'circle' is registered already: Circle"):
        shapes.register(Other)
    shapes.unregister("circle")
    assert shapes.register(Other) is shapes["circle"]
    with pytest.raises(InputError, match="register takes a dataclass for a shape"):
        shapes.register(int)
