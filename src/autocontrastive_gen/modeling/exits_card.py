"""The model card of exits that are stored alone: what they are, for which base, how good, and how to load them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import metadata_load, try_to_load_from_cache

from autocontrastive_gen.foundation.errors import InputError, shown
from autocontrastive_gen.modeling.layers import ORIGINAL, late_layer

Metrics = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Domain -> exit -> name of a metric -> value, as ``fit_exits`` returns them (``Fitted.quality``)."""
LICENCES = ("apache-2.0", "bsd-3-clause", "cc-by-4.0", "cc-by-sa-4.0", "cc0-1.0", "gpl-3.0", "mit", "openrail")
"""Licences that the hub's model cards know; another one is written as "other"."""
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
FORMATS = {"perplexity": ".4g", "agreement": ".3f", "entropy": ".3f"}
CARD = """---
license: {license}{base_model}
library_name: transformers
tags: [multi-exit, early-exit, auto-contrastive-decoding]
---

# Exits of {title}

Exits at layers {exits} of {depth}, projection mode `{mode}`, stored apart from the base model, which is unchanged.
{note}

```python
from autocontrastive_gen import AutoMultiExitModel, MultiExitConfiguration

configuration = MultiExitConfiguration(use_original_head=False, contrast_layer_indices=("original", {example}))
model = AutoMultiExitModel.from_pretrained("{base}", multi_exit_config=configuration, exits="{source}")
```
{training}{quality}
## Limits

The exits are meant for contrast or early exit with exactly this base model; any other model is refused. They inherit
its licence ({licence}), its biases and its mistakes. A lower exit is not a good language model on its own.
"""
QUALITY = """
## Quality on held-out text

{table}

Perplexity is that of the exit's own distribution; agreement is the share of positions at which its most likely token is
that of the last layer; entropy is in nats.{disjoint}
"""


def exits_card(
    layers: tuple[int, ...],
    depth: int,
    mode: str,
    *,
    title: str | None = None,
    base: str | None = None,
    source: str | None = None,
    licence: str | None = None,
    metrics: Metrics | None = None,
    training: str = "",
    note: str = "",
    example: int | None = None,
    disjoint: str = "",
) -> str:
    """README.md of exits.

    Args:
        layers: with an exit, ascending.
        depth: number of layers of the base model.
        mode: name of the projection mode.
        title: what the exits are called after; by default the base model.
        base: the name of the base model on the hub.
        source: the name of the exits on the hub.
        licence: that of the base model.
        metrics: quality of the exits.
        training: how they were trained.
        note: a remark on the base model.
        example: the lower layer of the example; by default the ``late_layer``.
        disjoint: a sentence on the text of training and validation.
    """
    return CARD.format(
        license=licence.lower() if licence and licence.lower() in LICENCES else "other",
        base_model=f"\nbase_model: {base}" if base else "",
        title=title or base or "a language model",
        exits=", ".join(map(str, layers)),
        depth=depth,
        mode=mode,
        note=note,
        example=example or late_layer(layers, depth),
        base=base or "<base model>",
        source=source or "<this folder>",
        training=f"\n## Training\n\n{training}\n" if training else "",
        quality=QUALITY.format(table=_table(metrics), disjoint=disjoint) if metrics else "",
        licence=licence or "not stated",
    )


def with_example(card: str, lower: int) -> str:
    """A card whose example contrasts the original head with ``lower``, once a run has chosen that layer."""
    return re.sub(r'(?<=contrast_layer_indices=\("original", )\d+', str(lower), card)


def card_of(model: Any, source: str | None, metrics: Metrics | None, licence: str | None) -> str:
    """``exits_card`` of a model's exits, with what the model itself states and what the caller adds."""
    name = model.config.name_or_path
    on_hub = bool(HUB_NAME.fullmatch(name)) and not Path(name).exists()
    contrast = model.multi_exit_config.contrast_layer_indices
    return exits_card(
        model.exit_layers,
        model.num_layers,
        model.projection_mode.name,
        title=Path(name).name if name and not on_hub else None,
        base=name if on_hub else None,
        source=source,
        licence=licence or base_licence(name),
        metrics=metrics,
        example=contrast[1] if contrast and contrast[1] != ORIGINAL else None,
    )


def base_licence(name: str) -> str | None:
    """The licence that the model card of a base states, in its folder or in the hub's cache; None: none is known."""
    card: Any = Path(name) / "README.md"
    if not Path(name).is_dir() and HUB_NAME.fullmatch(name):
        card = try_to_load_from_cache(name, "README.md")
    if not isinstance(card, str | Path) or not Path(card).is_file():
        return None
    try:
        licence = (metadata_load(card) or {}).get("license")
    except Exception:  # whatever is wrong with the card of someone else's model, it states no licence then
        return None
    return licence if isinstance(licence, str) else None


def _table(metrics: Metrics) -> str:
    try:
        rows = [(domain, exit_, dict(values)) for domain, of in metrics.items() for exit_, values in of.items()]
    except (AttributeError, TypeError, ValueError):
        raise InputError(
            f"metrics: give domain -> exit -> metric -> value, as fit_exits(...).quality, got {shown(metrics)}"
        ) from None
    names = list(dict.fromkeys(name for *_, values in rows for name in values))
    head = f"| domain | exit | {' | '.join(names)} |\n|---|---|{'---:|' * len(names)}\n"
    return head + "\n".join(
        f"| {domain} | {exit_} | {' | '.join(_shown(name, values.get(name)) for name in names)} |"
        for domain, exit_, values in rows
    )


def _shown(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else format(value, FORMATS.get(name, ".4g"))
