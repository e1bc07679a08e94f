"""The lens of a run: what every layer wanted along a plain text, and what contrasts would have chosen there."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from autocontrastive_gen.evaluation.metrics import Texts
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation.errors import UserError
from autocontrastive_gen.inspection.lens_reading import lens
from autocontrastive_gen.pipeline.cell_model import exit_fields, read_resolved

log = logging.getLogger(__name__)
BEFORE, TOKENS = 4, 60
"""Tokens of the prompt, and of its plain continuation, that a page shows."""


def write_lenses(name: str, plan: Mapping[str, Any], paths: Paths, texts: Texts, model, tokenizer) -> None:
    """Write ``paths.lens`` of a model: the first text of each domain, with the contrasts of the same decoder.

    A text or contrast that no lens can show costs the scores nothing: the log says why there is none.

    Args:
        plan: the plan's entry "score" of the model; under "lens", the "setting" of the text and its "contrasts".
        model: with all its exits.
    """
    setting, contrasts = plan["lens"]["setting"], _contrasts(name, paths, **plan["lens"])
    for domain in plan["domains"]:
        row = texts[setting, domain][0]
        prompt = tokenizer(row["prompt"])["input_ids"]
        try:
            seen = lens(
                model,
                tokenizer,
                [*prompt, *row["tokens"][:TOKENS]],
                layers="all",
                contrasts=contrasts,
                skip=max(0, len(prompt) - BEFORE),
                title=f"{name}, {setting} text of the run {paths.profile}",
            )
        except UserError as error:
            log.warning("no lens of a text of %s: %s", domain, error)
        else:
            seen.to_html(paths.lens(name, domain))


def _contrasts(name: str, paths: Paths, setting: str, contrasts: list[str]) -> dict[str, dict[str, Any]]:
    """The contrasts with the layers and parameters that they ran with; a layer that was chosen is told in brackets."""
    found = {}
    for contrast in contrasts:
        resolved, label = read_resolved(paths, name, contrast), contrast.removeprefix(f"{setting}-")
        chosen = resolved["lower"] and not label[-1].isdigit()
        found[f"{label} ({resolved['lower']})" if chosen else label] = exit_fields(resolved)
    return found
