"""The model card of the exits that a run has trained."""

from __future__ import annotations

from typing import Any

from autocontrastive_gen.modeling.exits_card import exits_card
from autocontrastive_gen.training.quality import Quality

DISJOINT = " Validation text and training text share no document."


def model_card(
    name: str, plan: dict[str, Any], layers: int, quality: Quality, licence: str = "not stated", tokens: int = 0
) -> str:
    """README.md of the trained exits.

    Args:
        name: name of the model in the parameters.
        plan: the entry of the train stage in the plan.
        layers: number of layers of the model.
        quality: quality of the exits.
        licence: licence of the base model.
        tokens: number of tokens on which the exits were trained.
    """
    model = plan["model"]
    return exits_card(
        tuple(model["exits"]),
        layers,
        model["mode"],
        title=name,
        licence=licence,
        metrics=quality,
        training=_training(plan, tokens),
        note=model["note"],
        disjoint=DISJOINT,
    )


def _training(plan: dict[str, Any], tokens: int) -> str:
    if plan["method"] == "none":
        return "The exits are published ones, which were measured and not trained."
    keys = ["method", "start", "block_size", "batch_size", "epochs", "learning_rate", "schedule", "seed"]
    keys = keys[:2] if plan["method"] == "least-squares" else keys
    rows = [f"| {key} | {plan[key]} |" for key in keys]
    rows += [f"| sampled softmax | {plan['sampled_softmax']} |", f"| tokens | {tokens} (at most {plan['tokens']}) |"]
    return "\n".join(["| parameter | value |", "|---|---|", *rows])
