"""Classes that are known by a name and have parameters of their own: contrast methods, decoders, settings of training.

Each is a frozen dataclass that states its parameters, their ranges and their help, and is the only place that does.
Parameter files, command-line arguments and error messages read them from the class.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, ClassVar, Generic, TypeVar

from autocontrastive_gen.foundation.errors import InputError, did_you_mean, shown


@dataclass(frozen=True)
class Range:
    """The values that a parameter may have.

    ``kind`` is int, float, bool or str, or any function that reads a value and raises ValueError for one it cannot
    read. ``low`` and ``high`` are included, ``above`` is not. ``choices``, if given, are the only allowed values. With
    ``many``, the parameter is a tuple of such values and may be written ``"2;4"``.
    """

    kind: Callable[[Any], Any] = float
    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf
    choices: tuple = ()
    many: bool = False
    optional: bool = False
    """None is allowed as well."""
    words: str = ""
    """What messages say is allowed, if ``kind`` is a function."""

    def read(self, value: Any) -> Any:
        """The value in its own type, from that type or from text.

        Raises:
            ValueError: it is not allowed.
        """
        if value is None and self.optional:
            return None
        if self.many:
            return tuple(map(self._one, _entries(value)))
        return self._one(value)

    def _one(self, value: Any) -> Any:
        if value in self.choices:
            return value
        if self.kind in (int, float):
            value = self._number(value)
        elif self.kind is bool:
            value = {"true": True, "false": False}.get(str(value).lower())
        else:
            value = self.kind(value)
        if value is None or (self.choices and value not in self.choices):
            raise ValueError
        return value

    def _number(self, value: Any) -> float | int:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        try:
            number = self.kind(value)  # int("2.5") raises ValueError
            if self.kind is int and number != float(value):
                raise ValueError
        except OverflowError:  # int of infinity, float of an int of 400 digits
            raise ValueError from None
        if not (self.low <= number <= self.high and self.above < number < math.inf):
            raise ValueError
        return number

    def __str__(self) -> str:
        if self.words:
            words = self.words
        elif self.kind not in (int, float):
            words = " or ".join(map(str, self.choices)) or ("true or false" if self.kind is bool else "text")
        else:
            noun = "whole number" if self.kind is int else "number"
            bounds = [f"above {self.above:g}"] if self.above > -math.inf else []
            if self.low > -math.inf and self.high < math.inf:
                bounds.append(f"from {self.low:g} to {self.high:g}")
            elif self.low > -math.inf:
                bounds.append(f"of at least {self.low:g}")
            elif self.high < math.inf:
                bounds.append(f"of at most {self.high:g}")
            words = " ".join([f"{noun}s" if self.many else f"a {noun}", " and ".join(bounds)]).strip()
            words = " or ".join([*map(str, self.choices), words])
        return f"{words} or null" if self.optional else words


def _entries(value: Any) -> tuple:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.strip("()[] ").replace(",", ";").split(";") if part.strip())
    return tuple(value or ()) if isinstance(value, list | tuple | None) else (value,)


def parameter(default: Any, help: str, **allowed: Any) -> Any:
    """A field of a ``Named`` dataclass.

    Args:
        default: the value if none is given.
        help: what it does, in one sentence; shown by ``--help`` and in ``params.yaml``.
        allowed: the fields of ``Range``.
    """
    return field(default=default, metadata={"help": help, "range": Range(**allowed)})


@dataclass(frozen=True)
class Named:
    """A class with a name; an instance checks its parameters when it is made.

    Raises:
        InputError: a parameter is not allowed.
    """

    name: ClassVar[str]
    kind: ClassVar[str] = "thing"
    """What messages call such a class."""

    def __post_init__(self) -> None:
        for each in fields(self):
            allowed: Range | None = each.metadata.get("range")
            if allowed is None:
                continue
            given = getattr(self, each.name)
            try:
                object.__setattr__(self, each.name, allowed.read(given))
            except InputError:  # from a group of parameters, whose message names the one at fault
                raise
            except (TypeError, ValueError):
                raise InputError(f"{each.name} of {self.name} must be {allowed}, got {shown(given)}") from None

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters as JSON-like values, in the order in which the class states them."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


T = TypeVar("T", bound=Named)


class Registry(Generic[T]):
    """The named classes of one kind: those of a package, one per module, and those that a user registers."""

    def __init__(self, kind: str, package: str) -> None:
        self.kind, self._package = kind, package
        self._classes: dict[str, type[T]] = {}
        self._found = False

    def register(self, cls: type[T]) -> type[T]:
        """Class decorator: make a frozen dataclass derived from ``Named`` known by its ``name``.

        Raises:
            InputError: it is not such a dataclass, or another class has the name.
        """
        if not (isinstance(cls, type) and issubclass(cls, Named) and is_dataclass(cls)):
            raise InputError(f"register takes a dataclass for a {self.kind}, got {cls!r}")
        known = self._classes.get(cls.name, cls)
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise InputError(f"a {self.kind} named {cls.name!r} is registered already: {known.__qualname__}")
        self._classes[cls.name] = cls
        return cls

    def __iter__(self) -> Iterator[str]:
        self._find()
        return iter(self._classes)

    def __contains__(self, name: object) -> bool:
        self._find()
        return name in self._classes

    def __getitem__(self, name: str) -> type[T]:
        """The class with that name.

        Raises:
            InputError: there is none; the message names the nearest.
        """
        self._find()
        if name not in self._classes:
            near = did_you_mean(name, self._classes)
            hint = f" ({near})" if near else ""
            raise InputError(f"{name!r} is not a {self.kind}; there are: {', '.join(self._classes)}{hint}")
        return self._classes[name]

    def build(self, name: str, parameters: Mapping[str, Any]) -> T:
        """An instance by name and parameters.

        Raises:
            InputError: the name, a parameter or a value is not allowed; the message says what is.
        """
        return build(self[name], parameters)

    def unregister(self, name: str) -> None:
        """Forget a class, so that another can have its name."""
        del self._classes[name]

    def _find(self) -> None:
        if not self._found:
            self._found = True
            package = importlib.import_module(self._package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self._package}.{module.name}")


def build(cls: type[T], parameters: Mapping[str, Any]) -> T:
    """An instance of a ``Named`` class.

    Raises:
        InputError: a parameter is unknown or out of range; the message says what is allowed.
    """
    known = [each.name for each in fields(cls)]
    if unknown := sorted(set(parameters) - set(known)):
        near = did_you_mean(unknown[0], known)
        hint = f" ({near})" if near else ""
        raise InputError(
            f"{cls.name} has no parameter {', '.join(map(repr, unknown))}; it takes {', '.join(known) or 'none'}{hint}"
        )
    return cls(**parameters)


def describe(cls: type[Named]) -> list[tuple[str, Any, str, str]]:
    """(name, default, what is allowed, help) of each parameter."""
    return [
        (
            each.name,
            each.default,
            str(each.metadata["range"]),
            each.metadata["help"],
        )
        for each in fields(cls)
        if "range" in each.metadata
    ]
