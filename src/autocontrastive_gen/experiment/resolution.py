"""Which layers a setting uses, once the lower layers are chosen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from autocontrastive_gen.evaluation.lower_layer import Scores, choose
from autocontrastive_gen.experiment.paths import halfway
from autocontrastive_gen.experiment.settings import Setting, all_settings
from autocontrastive_gen.foundation.errors import InputError


def lower_layer(model: dict[str, Any], upper: int | str, layers: int, scores: Scores, margin: float) -> int | None:
    """Lower exit of a contrast whose name states none, below ``upper``; None if no exit lies below.

    ``model`` is the model's entry in params, ``scores`` what the selection measured (empty without one).
    """
    below = layers if upper == "original" else upper
    if model["lower"] == "auto":
        return choose(scores, below, margin)
    lower = halfway(layers) if model["lower"] == "halfway" else model["lower"]
    if lower not in model["exits"]:
        raise InputError(
            f"models: lower = {model['lower']}: layer {lower} of {layers} carries no exit; exits: {model['exits']}"
        )
    return lower if lower < below else None


def resolved_settings(
    model: dict[str, Any], layers: int, scores: Scores, margin: float, digests: dict[int, str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and ``{"upper", "lower", "exits"}`` of every setting that the model can run."""
    for setting in all_settings(tuple(model["exits"])):
        upper = _upper(setting, model)
        lower = None
        if setting.contrast:
            lower = setting.lower or lower_layer(model, upper, layers, scores, margin)
            if lower is None or (upper != "original" and lower >= upper):
                continue
        used = [layer for layer in (upper, lower) if isinstance(layer, int)]
        yield (
            setting.name,
            {
                "upper": upper,
                "lower": lower,
                "exits": {str(layer): digests[layer] for layer in used if layer in digests},
            },
        )


def _upper(setting: Setting, model: dict[str, Any]) -> int | str:
    if setting.exit is not None:
        return setting.exit
    return "original" if setting.name == "original" else model["upper"]
