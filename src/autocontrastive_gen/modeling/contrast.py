"""Contrast and combination methods by name, by callable, or by ``module:function``."""

import difflib
import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from typing import Any

from torch import Tensor

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.modeling.methods import Acd, Cd, Dola, Ensemble, Method, Uncontrasted, method_fields
from autocontrastive_gen.modeling.plausible import Candidates

__all__ = [
    "REGISTRY", "Acd", "Candidates", "Cd", "ContrastFunction", "Dola", "Ensemble", "Method", "Uncontrasted",
    "register", "resolve", "to_config",
]  # fmt: skip

ContrastFunction = Callable[[Tensor, Tensor], Tensor]
"""Upper and lower logits (B, T, V) to log-probabilities (B, T, V)."""

REGISTRY: dict[str, type[Method]] = {method.name: method for method in (Acd, Cd, Dola, Ensemble, Uncontrasted)}


def register(cls: type[Method]) -> type[Method]:
    """Class decorator: make a method of your own known by its ``name``."""
    if not (isinstance(cls, type) and issubclass(cls, Method) and is_dataclass(cls)):
        raise InputError(f"register() takes a dataclass derived from Method, got {cls!r}")
    if REGISTRY.get(cls.name, cls).__qualname__ != cls.__qualname__:
        raise InputError(f"a method named {cls.name!r} is registered already: {REGISTRY[cls.name].__qualname__}")
    REGISTRY[cls.name] = cls
    return cls


def resolve(spec: Any = None) -> Method | ContrastFunction:
    """The method that a ``contrast_function`` stands for.

    Args:
        spec: None (``acd`` with the paper's defaults), a method, a registered name, ``module:function``, a mapping of
            ``name`` and parameters, or a callable. ``calculate_contrasted_logits`` and partials of it become ``acd``.

    Raises:
        ValueError: nothing has that name, or a parameter is unknown or out of range.
    """
    if spec is None:
        return Acd()
    if isinstance(spec, str):
        return _by_name(spec, {})
    if isinstance(spec, Mapping):
        parameters = dict(spec)
        if not isinstance(name := parameters.pop("name", None), str):
            raise InputError(f"contrast_function: a mapping needs a 'name' ({_known()}), got {dict(spec)!r}")
        return _by_name(name, parameters)
    if isinstance(spec, type) and issubclass(spec, Method):
        return _build(spec, {})
    if isinstance(spec, Method):
        return spec
    if callable(spec):
        function, parameters = _unwrap(spec)
        stands_for = getattr(function, "method", None)
        return _build(stands_for, parameters) if isinstance(stands_for, type) else spec
    raise InputError(f"contrast_function must be a name, 'module:function', a mapping or a callable, got {spec!r}")


def to_config(method: Any) -> dict[str, Any] | str:
    """A JSON form that ``resolve`` reads back to the same method.

    Raises:
        ValueError: the function can't be imported by name (a lambda, a closure, one defined in ``__main__``).
    """
    method = resolve(method)
    if isinstance(method, Method):
        values = {name: getattr(method, name) for name in method_fields(method)}
        name = method.name if REGISTRY.get(method.name) is type(method) else _path(type(method))
        return {"name": name, **{k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}}
    function, parameters = _unwrap(method)
    path = _path(function)
    return {"name": path, **parameters} if parameters else path


def _known() -> str:
    return f"one of {', '.join(sorted(REGISTRY))}, or module:function"


def _by_name(name: str, parameters: dict[str, Any]) -> Method | ContrastFunction:
    if ":" in name:
        found = _imported(name)
        if isinstance(found, type) and issubclass(found, Method):
            return _build(found, parameters)
        if isinstance(found, Method) and parameters:
            raise InputError(f"contrast_function: {name} has its parameters already, got {parameters!r} as well")
        return resolve(functools.partial(found, **parameters) if parameters else found)
    if name not in REGISTRY:
        near = difflib.get_close_matches(name, REGISTRY, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise InputError(f"contrast_function: {name!r} is not {_known()}{hint}")
    return _build(REGISTRY[name], parameters)


def _build(cls: type[Method], parameters: dict[str, Any]) -> Method:
    allowed = method_fields(cls)
    if unknown := sorted(set(parameters) - set(allowed)):
        raise InputError(
            f"contrast_function: {cls.name} has no parameter {', '.join(map(repr, unknown))}; "
            f"it takes {', '.join(allowed) or 'none'}"
        )
    return cls(**parameters)


def _imported(path: str) -> Callable:
    module, _, attribute = path.partition(":")
    try:
        found = functools.reduce(getattr, attribute.split("."), importlib.import_module(module))
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"contrast_function: can't import {path!r} ({error}); is it on the Python path?") from None
    if not callable(found):
        raise InputError(f"contrast_function: {path!r} is a {type(found).__name__}, not a function")
    return found


def _unwrap(function: Callable) -> tuple[Callable, dict[str, Any]]:
    """The function inside partials and the arguments they fix, by name."""
    if not isinstance(function, functools.partial):
        return function, {}
    if function.args:
        raise InputError("contrast_function: a partial may fix arguments by name only; the first two are the logits")
    inner, parameters = _unwrap(function.func)
    return inner, {**parameters, **function.keywords}


def _path(function: Callable) -> str:
    if not (inspect.isfunction(function) or inspect.isbuiltin(function) or isinstance(function, type)):
        kind = type(function).__qualname__
        raise InputError(f"contrast_function: a {kind} object has no name to save; use module:function")
    path = f"{function.__module__}:{function.__qualname__}"
    if function.__module__ == "__main__" or "<" in path:
        raise InputError(f"contrast_function: {path} can't be imported again; move it to the top level of a module")
    return path
