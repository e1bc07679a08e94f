"""The model card of trained exits."""

from __future__ import annotations

from typing import Any

from autocontrastive_gen.training.quality import Quality

CARD = """---
license: {license}
library_name: transformers
tags: [multi-exit, early-exit, auto-contrastive-decoding]
---

# Exits of {name}

Exits at layers {exits} of {layers}, projection mode `{mode}`, stored apart from the base model, which is unchanged.
{note}

```python
from autocontrastive_gen import AutoMultiExitModel, MultiExitConfiguration

configuration = MultiExitConfiguration(use_original_head=False, contrast_layer_indices=("original", {example}))
model = AutoMultiExitModel.from_pretrained("<base model>", multi_exit_config=configuration, exits="<this folder>")
```

## Training

{training}

## Quality on held-out text

{table}

Perplexity is that of the exit's own distribution; agreement is the share of positions at which its most likely token is
that of the last layer; entropy is in nats. Validation text and training text share no document.

## Limits

The exits are meant for contrast or early exit with exactly this base model; any other model is refused. They inherit
its licence ({licence}), its biases and its mistakes. A lower exit is not a good language model on its own.
"""


LICENCES = ("apache-2.0", "bsd-3-clause", "cc-by-4.0", "cc-by-sa-4.0", "cc0-1.0", "gpl-3.0", "mit", "openrail")
"""Licences that the hub's model cards know and that models of the profiles have."""


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
    return CARD.format(
        license=licence.lower() if licence.lower() in LICENCES else "other",
        licence=licence,
        name=name,
        exits=", ".join(map(str, model["exits"])),
        layers=layers,
        mode=model["mode"],
        note=model["note"],
        example=model["exits"][0],
        training=_training(plan, tokens),
        table=_table(quality),
    )


def _training(plan: dict[str, Any], tokens: int) -> str:
    if plan["method"] == "none":
        return "The exits are published ones, which were measured and not trained."
    keys = ["method", "start", "block_size", "batch_size", "epochs", "learning_rate", "schedule", "seed"]
    keys = keys[:2] if plan["method"] == "least-squares" else keys
    rows = [f"| {key} | {plan[key]} |" for key in keys]
    rows += [f"| sampled softmax | {plan['sampled_softmax']} |", f"| tokens | {tokens} (at most {plan['tokens']}) |"]
    return "\n".join(["| parameter | value |", "|---|---|", *rows])


def _table(quality: Quality) -> str:
    head = "| domain | exit | perplexity | agreement | entropy | tokens |\n|---|---|---:|---:|---:|---:|\n"
    return head + "\n".join(
        "| {} | {} | {perplexity:.4g} | {agreement:.3f} | {entropy:.3f} | {tokens} |".format(domain, layer, **row)
        for domain, rows in quality.items()
        for layer, row in rows.items()
    )
