"""The contrasts of a lens: how they are named, and what they would choose."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.modeling.contrast import Function, resolve
from autocontrastive_gen.modeling.layers import ORIGINAL, Exit, late_layer
from autocontrastive_gen.modeling.method import METHODS, Method
from autocontrastive_gen.modeling.multi_exit import MultiExitModel

NAME = re.compile(r"(?:exit(?P<upper>\d+)-)?(?P<method>[a-z]+?)(?P<lower>\d+)?")
"""As in ``run.benchmark_settings``: ``acd``, ``acd25``, ``exit24-acd12``."""
Fields = dict[str, Any]
"""Arguments of ``set_exits``."""


def named_contrasts(model: MultiExitModel, contrasts: Any, lower: int | None) -> dict[str, Fields]:
    """Label -> arguments of ``model.set_exits``.

    Args:
        contrasts: see ``lens``.
        lower: the lower layer of contrasts that need one and do not name it.

    Raises:
        InputError: there is no such method, or a name has the wrong form.
    """
    if isinstance(contrasts, str | Method) or callable(contrasts):
        contrasts = [contrasts]
    if isinstance(contrasts, Mapping) and "name" in contrasts:
        contrasts = [contrasts]
    if isinstance(contrasts, Mapping):
        return {label: _fields(model, spec, lower)[1] for label, spec in contrasts.items()}
    if not isinstance(contrasts, Iterable):
        raise InputError(f"contrasts: give a list of contrasts, or a mapping of labels to them, got {contrasts!r}")
    found: dict[str, Fields] = {}
    for spec in contrasts:
        label, fields = _fields(model, spec, lower)
        copies = sum(other == label or other.startswith(f"{label} (") for other in found)
        found[f"{label} ({copies + 1})" if copies else label] = fields
    return found


def default_lower(model: MultiExitModel, upper: Exit = ORIGINAL) -> int:
    """The exit below ``upper`` that is the ``late_layer``.

    Raises:
        InputError: there is no exit below ``upper``.
    """
    below = [layer for layer in model.exit_layers if layer < model.layer_of(upper)]
    lower = late_layer(below, model.num_layers)
    if lower is None:
        raise InputError(f"contrasts: the model has no exit below {upper}; its exits: {list(model.exit_layers)}")
    return lower


def _fields(model: MultiExitModel, spec: Any, lower: int | None) -> tuple[str, Fields]:
    """The label of a contrast, and arguments of ``set_exits``."""
    if isinstance(spec, Mapping) and "contrast_layer_indices" in spec:
        return "contrast", {"use_original_head": False, **spec}
    upper: Exit = ORIGINAL
    if isinstance(spec, str) and ":" not in spec:
        if (parts := NAME.fullmatch(spec)) is None:
            raise InputError(
                f"contrasts: {spec!r} is no contrast; give <method>[<lower layer>] or exit<upper>-<method>[<lower>], "
                f"with one of the methods {', '.join(METHODS)}"
            )
        spec = parts["method"]
        upper = int(parts["upper"]) if parts["upper"] else ORIGINAL
        lower = int(parts["lower"]) if parts["lower"] else lower
    elif isinstance(spec, Mapping):
        spec = dict(spec)
        upper, lower = spec.pop("upper", upper), spec.pop("lower", lower)
    method = resolve(spec)
    if method.takes_lower and lower is None:
        lower = default_lower(model, upper)
    lower = lower if method.takes_lower else None
    title = getattr(method.function, "__name__", method.name) if isinstance(method, Function) else method.name
    label = f"{'' if upper == ORIGINAL else f'exit{upper}-'}{title}{'' if lower is None else lower}"
    return label, {
        "use_original_head": False,
        "contrast_layer_indices": (upper, lower),
        "contrast_function": method,
    }
