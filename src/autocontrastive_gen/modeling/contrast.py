"""Contrast methods by name, by mapping, by callable, or by ``module:function``."""

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.foundation.named import build
from autocontrastive_gen.modeling.method import METHODS, Lowers, Method
from autocontrastive_gen.modeling.methods.acd import Acd
from autocontrastive_gen.modeling.methods.cd import Cd
from autocontrastive_gen.modeling.methods.dola import Dola
from autocontrastive_gen.modeling.methods.ensemble import Ensemble
from autocontrastive_gen.modeling.methods.uncontrasted import Uncontrasted
from autocontrastive_gen.modeling.plausible import Candidates
from autocontrastive_gen.modeling.toy_logits import try_on_toy_logits

__all__ = [
    "REGISTRY", "Acd", "Candidates", "Cd", "ContrastFunction", "Dola", "Ensemble", "Function", "Method", "Uncontrasted",
    "check", "register", "resolve", "to_config",
]  # fmt: skip

ContrastFunction = Callable[[Tensor, Tensor], Tensor]
"""Upper and lower logits (B, T, V) to log-probabilities (B, T, V)."""

REGISTRY = METHODS


def register(cls: type[Method]) -> type[Method]:
    """Class decorator: make a method of your own known by its ``name``.

    Raises:
        InputError: it is no dataclass derived from ``Method``, or another method has the name.
    """
    if not (isinstance(cls, type) and issubclass(cls, Method)):
        raise InputError(f"register() takes a dataclass derived from Method, got {cls!r}")
    return METHODS.register(cls)


@dataclass(frozen=True)
class Function(Method):
    """A plain ``(upper_logits, lower_logits, **arguments) -> log-probabilities`` as a method of two exits."""

    function: ContrastFunction
    arguments: Mapping[str, Any] = field(default_factory=dict)
    name: ClassVar[str] = "function"

    def __post_init__(self) -> None:
        _check_arguments(self.function, self.arguments)

    @property
    def parameters(self) -> dict[str, Any]:
        """The arguments besides the logits."""
        return dict(self.arguments)

    def evaluate(self, upper_logits: Tensor, lowers: Lowers) -> Tensor:
        """What the function makes of the full logits (..., V) of both exits."""
        (lower,) = lowers.exits
        return self.function(upper_logits, lowers.logits(lower), **self.arguments)


def resolve(spec: Any = None) -> Method:
    """The method that a ``contrast_function`` stands for.

    Args:
        spec: None (``acd`` with the paper's defaults), a method, a registered name, ``module:function``, a mapping of
            ``name`` and parameters, or a callable. ``calculate_contrasted_logits`` and partials of it become ``acd``.

    Raises:
        InputError: nothing has that name, or a parameter is unknown, missing or out of range.
    """
    if spec is None:
        return Acd()
    if isinstance(spec, Method):
        return spec
    if isinstance(spec, str):
        return _by_name(spec, {})
    if isinstance(spec, Mapping):
        parameters = dict(spec)
        if not isinstance(name := parameters.pop("name", None), str):
            known = f"one of {', '.join(METHODS)}, or module:function"
            raise InputError(f"a mapping needs a 'name' ({known}), got {dict(spec)!r}")
        return _by_name(name, parameters)
    if callable(spec):
        return _from_callable(spec, {})
    raise InputError(f"a contrast is a name, 'module:function', a mapping or a callable, got {spec!r}")


def check(spec: Any = None) -> list[str]:
    """Try what a ``contrast_function`` stands for on small random logits.

    Returns:
        Warnings, such as that greedy search can't tell it from another method.

    Raises:
        InputError: as ``resolve``; or it fails, or returns no log-probabilities.
    """
    method = resolve(spec)
    title = _title(method.function) if isinstance(method, Function) else method.name
    try_on_toy_logits(method, title)
    same = method.same_choice_as
    if same is None:
        return []
    parameters = ", ".join(f"{name}={value}" for name, value in same.parameters.items())
    return [
        f"{title}: greedy search picks the same tokens as {same.name} ({parameters}) with the same lower layer; only "
        "sampling, beam search and scoring tell them apart"
    ]


def to_config(spec: Any) -> dict[str, Any] | str:
    """A JSON form that ``resolve`` reads back to the same method.

    Raises:
        InputError: the function can't be imported by name (a lambda, a closure, one defined in ``__main__``).
    """
    method = resolve(spec)
    if isinstance(method, Function):
        path = _path(method.function)
        return {"name": path, **method.parameters} if method.parameters else path
    registered = method.name in METHODS and METHODS[method.name] is type(method)
    return {"name": method.name if registered else _path(type(method)), **method.parameters}


def _by_name(name: str, parameters: dict[str, Any]) -> Method:
    if ":" in name:
        found = _imported(name)
        if isinstance(found, Method) and parameters:
            raise InputError(f"{name} has its parameters already, got {parameters!r} as well")
        return found if isinstance(found, Method) else _from_callable(found, parameters)
    try:
        return METHODS.build(name, parameters)
    except InputError as error:
        own = "" if name in METHODS else "; a function of your own is module:function"
        raise InputError(f"{error}{own}") from None


def _from_callable(function: Callable, parameters: Mapping[str, Any]) -> Method:
    function, fixed = _unwrap(function)
    parameters = {**fixed, **parameters}
    method = getattr(function, "method", function)  # calculate_contrasted_logits says what it stands for
    if isinstance(method, type) and issubclass(method, Method):
        return build(method, parameters)
    return Function(function, parameters)


def _imported(path: str) -> Any:
    module, _, attribute = path.partition(":")
    try:
        found = functools.reduce(getattr, attribute.split("."), importlib.import_module(module))
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"can't import {path!r} ({error}); is it on the Python path?") from None
    if not callable(found):
        raise InputError(f"{path!r} is a {type(found).__name__}, not a function")
    return found


def _unwrap(function: Callable) -> tuple[Callable, dict[str, Any]]:
    """The function inside partials and the arguments they fix, by name."""
    if not isinstance(function, functools.partial):
        return function, {}
    if function.args:
        raise InputError("a partial may fix arguments by name only; the first two are the logits")
    inner, parameters = _unwrap(function.func)
    return inner, {**parameters, **function.keywords}


def _check_arguments(function: Callable, arguments: Mapping[str, Any]) -> None:
    """Compare arguments with the signature of a function whose first two parameters are the logits."""
    try:
        _, _, *taken = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return  # built in, or with *args: it says itself what it misses
    named = {p.name: p for p in taken if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    takes = ", ".join(named) or "no parameters besides the logits"
    unknown = [] if any(p.kind is p.VAR_KEYWORD for p in taken) else sorted(set(arguments) - set(named))
    missing = [p.name for p in named.values() if p.default is p.empty and p.name not in arguments]
    faults = [f"has no parameter {', '.join(map(repr, unknown))}"] if unknown else []
    faults += [f"needs {', '.join(map(repr, missing))}"] if missing else []
    if faults:
        raise InputError(f"{_title(function)} {' and '.join(faults)}; it takes {takes}")


def _title(function: Callable) -> str:
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{getattr(function, '__module__', None) or type(function).__module__}:{name}"


def _path(function: Callable) -> str:
    if not (inspect.isfunction(function) or inspect.isbuiltin(function) or isinstance(function, type)):
        kind = type(function).__qualname__
        raise InputError(f"a {kind} object has no name to save; use module:function")
    path = f"{function.__module__}:{function.__qualname__}"
    if function.__module__ == "__main__" or "<" in path:
        raise InputError(f"{path} can't be imported again; move it to the top level of a module")
    return path
