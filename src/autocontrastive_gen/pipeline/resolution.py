"""What a setting runs with, once its lower layer and its contrast's parameters are chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autocontrastive_gen.experiment.choices import combinations
from autocontrastive_gen.experiment.paths import halfway
from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.modeling import contrast as contrasting
from autocontrastive_gen.modeling.layers import ORIGINAL, Exit
from autocontrastive_gen.modeling.method import Method
from autocontrastive_gen.pipeline.choice import Candidate
from autocontrastive_gen.pipeline.entries import spec_of, with_choice

Measured = dict[str, Any]
"""{"plain": scores of the upper exit alone, "candidates": [Candidate]} of one contrast."""
Rule = Callable[[Mapping[str, float], Sequence[Candidate]], Candidate | None]
"""(scores of the upper exit alone, candidates) -> the one that is chosen; None if there is no candidate."""
OPEN = {"exit": None, "lower": None}
"""A setting whose name states no layer."""


@dataclass(frozen=True)
class Choice:
    """The candidates of each contrast that leaves something open, and the rule that decides between them."""

    measured: Mapping[str, Measured]
    rule: Rule


def upper_of(setting: Mapping[str, Any], name: str, model: Mapping[str, Any]) -> Exit:
    """The upper exit: the one in the setting's name, else the model's; "original" always reads the model's own head."""
    if setting["exit"] is not None:
        return setting["exit"]
    return ORIGINAL if name == ORIGINAL else model["upper"]


def stated_layer(setting: Mapping[str, Any], model: Mapping[str, Any], depth: int) -> int | None:
    """The lower layer that the setting's name states or, if it states none, the model's; None leaves it to the rule.

    Args:
        model: "exits" and "lower" from the entry of the plan.
        depth: number of layers of the model.

    Raises:
        InputError: the model's layer has no exit.
    """
    if setting["lower"] is not None:
        return setting["lower"]
    if model["lower"] == "auto":
        return None
    lower = halfway(depth) if model["lower"] == "halfway" else model["lower"]
    if lower not in model["exits"]:
        raise InputError(
            f"models: lower = {model['lower']}: layer {lower} of {depth} has no exit; exits: {model['exits']}"
        )
    return lower


def candidates_of(contrast: str, plan: Mapping[str, Any], depth: int) -> list[tuple[int | None, dict[str, Any]]]:
    """Lower layer and chosen parameters of every candidate of a contrast; empty if it leaves nothing open.

    Args:
        plan: the entry of ``select``.
        depth: number of layers of the model.
    """
    entry, model = plan["contrasts"][contrast], plan["model"]
    settings = [setting for setting in plan["settings"].values() if setting["contrast"] == contrast]
    found: list[tuple[int | None, dict[str, Any]]] = []
    for parameters in combinations(entry.get("choose", {})):
        if not _method(entry, parameters).takes_lower:
            found += [(None, parameters)] if parameters else []
            continue
        stated = {stated_layer(setting, model, depth) for setting in settings}
        if parameters or None in stated:
            lowers = model["exits"] if None in stated else sorted(stated)
            found += [(lower, parameters) for lower in lowers if lower < _layer_of(model["upper"], depth)]
    return found


def best(
    choice: Choice, contrast: str, setting: Mapping[str, Any], upper: Exit, plan: Mapping[str, Any], depth: int
) -> Candidate | None:
    """The candidate that the rule chooses for a setting: below ``upper``, and at its lower layer if one is stated.

    None if the contrast leaves nothing open, or has no candidate below ``upper``.
    """
    measured = choice.measured.get(contrast)
    if measured is None:
        return None

    def fits(lower: int | None) -> bool:
        if lower is None:
            return True
        return lower < _layer_of(upper, depth) and stated_layer(setting, plan["model"], depth) in (None, lower)

    fitting = [candidate for candidate in measured["candidates"] if fits(candidate["lower"])]
    return choice.rule(measured["plain"], fitting)


def resolve_setting(
    name: str, plan: Mapping[str, Any], depth: int, choice: Choice, digests: Mapping[str, str]
) -> dict[str, Any]:
    """``{"upper", "lower", "contrast", "exits": {layer: digest of its weights}}`` of one setting.

    Args:
        plan: the entry of ``select``.
        depth: number of layers of the model.
        choice: what decides for this setting.
        digests: layer -> digest of the trained exit; a layer without an entry uses the model's own head.

    Raises:
        InputError: the model lacks an exit below the upper one, or an exit that the method reads.
    """
    setting, model = plan["settings"][name], plan["model"]
    upper = upper_of(setting, name, model)
    contrast, lower, read = None, None, ()
    if setting["contrast"]:
        lower, chosen = _chosen(name, upper, plan, depth, choice)
        contrast = with_choice(plan["contrasts"][setting["contrast"]], chosen)
        read = _method(contrast).lower_exits(lower, upper, model["exits"], depth)
    used = [layer for layer in dict.fromkeys((upper, *read)) if isinstance(layer, int)]
    exits = {str(layer): digests[str(layer)] for layer in used if str(layer) in digests}
    return {"upper": upper, "lower": lower, "contrast": contrast, "exits": exits}


def _chosen(
    name: str, upper: Exit, plan: Mapping[str, Any], depth: int, choice: Choice
) -> tuple[int | None, dict[str, Any]]:
    """Lower layer and chosen parameters of a setting with contrast."""
    setting, model = plan["settings"][name], plan["model"]
    entry = plan["contrasts"][setting["contrast"]]
    if "choose" not in entry:
        if not _method(entry).takes_lower:
            return None, {}
        stated = stated_layer(setting, model, depth)
        if stated is not None and stated < _layer_of(upper, depth):
            return stated, {}
    candidate = best(choice, setting["contrast"], setting, upper, plan, depth)
    if candidate is None:
        raise InputError(f"{name!r} has no lower exit below {upper}; models.exits has {model['exits']}")
    return candidate["lower"], candidate["parameters"]


def _method(entry: Mapping[str, Any], chosen: Mapping[str, Any] | None = None) -> Method:
    return contrasting.resolve(spec_of(with_choice(entry, chosen or {})))


def _layer_of(upper: Exit, depth: int) -> int:
    """The layer that an upper exit reads, below which its lower exits lie."""
    return depth if isinstance(upper, str) else upper
