"""The exits that a setting reads, once lower layers are chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autocontrastive_gen.experiment.paths import halfway
from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.modeling import contrast as contrasting
from autocontrastive_gen.pipeline.entries import spec_of
from autocontrastive_gen.pipeline.lower_layer import Scores, choose


def upper_of(setting: Mapping[str, Any], name: str, model: Mapping[str, Any]) -> int | str:
    """The upper exit: the one in the setting's name, else the model's; "original" always reads the model's own head."""
    if setting["exit"] is not None:
        return setting["exit"]
    return "original" if name == "original" else model["upper"]


def lower_layer(model: Mapping[str, Any], below: int, layers: int, scores: Scores, margin: float) -> int | None:
    """The lower layer of a contrast whose name states none; None if there is no exit below the layer ``below``.

    Args:
        model: "exits" and "lower" from the entry of the plan.
        layers: depth of the model.
        scores: scores of each candidate, if ``lower`` is "auto".
        margin: how much coherence a layer may lose.

    Raises:
        InputError: the layer has no exit.
    """
    if model["lower"] == "auto":
        return choose(scores, below, margin)
    lower = halfway(layers) if model["lower"] == "halfway" else model["lower"]
    if lower not in model["exits"]:
        raise InputError(
            f"models: lower = {model['lower']}: layer {lower} of {layers} has no exit; exits: {model['exits']}"
        )
    return lower if lower < below else None


def resolve_setting(
    name: str, plan: Mapping[str, Any], layers: int, scores: Mapping[str, Scores], digests: Mapping[str, str]
) -> dict[str, Any]:
    """``{"upper", "lower", "exits": {layer: digest of its weights}}`` of one setting.

    Args:
        plan: the entry of ``select``.
        layers: depth of the model.
        scores: scores of each candidate, by contrast.
        digests: layer -> digest of the trained exit; a layer without an entry uses the model's own head.

    Raises:
        InputError: the model lacks an exit below the upper one, or an exit that the method reads.
    """
    setting, model = plan["settings"][name], plan["model"]
    upper = upper_of(setting, name, model)
    below = layers if upper == "original" else upper
    lower, read = None, ()
    if setting["contrast"]:
        method = contrasting.resolve(spec_of(plan["contrasts"][setting["contrast"]]))
        if method.takes_lower:
            measured = scores.get(setting["contrast"], {})
            lower = setting["lower"] or lower_layer(model, below, layers, measured, plan["coherence_margin"])
            if lower is None or lower >= below:
                raise InputError(f"{name!r} has no lower exit below {upper}; models.exits has {model['exits']}")
        read = method.lower_exits(lower, upper, model["exits"], layers)
    used = [layer for layer in dict.fromkeys((upper, *read)) if isinstance(layer, int)]
    exits = {str(layer): digests[str(layer)] for layer in used if str(layer) in digests}
    return {"upper": upper, "lower": lower, "exits": exits}
