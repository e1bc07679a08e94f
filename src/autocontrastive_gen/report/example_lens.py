"""The lens of a report: what every layer wanted along one plain text, and what contrasts would have chosen there."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from autocontrastive_gen.foundation.errors import UserError
from autocontrastive_gen.foundation.files import write_text
from autocontrastive_gen.pipeline.cell_model import exit_fields, load_cell_model, read_resolved
from autocontrastive_gen.report.results import Results
from autocontrastive_gen.report.samples import showable

log = logging.getLogger(__name__)
BEFORE, TOKENS = 4, 60
"""Tokens of the prompt, and of its plain continuation, that the page shows."""
ABSENT = "<!doctype html><meta charset=utf-8><title>Lens</title><p>No lens was made: {reason}.</p>\n"


def write_example_lens(results: Results) -> bool:
    """Write ``lens.html`` beside the page: the first model on the first text that may be shown.

    Returns:
        Whether there is something to see; else the file says why there is not.
    """
    path = results.paths.reports / "lens.html"
    try:
        reason = _written(results, path)
    except UserError as error:
        reason = f"{error}".rstrip(".")
    if reason:
        log.debug("no lens: %s", reason)
        write_text(path, ABSENT.format(reason=reason.replace("&", "&amp;").replace("<", "&lt;")))
    return not reason


def _written(results: Results, path: Path) -> str:
    """Why it was not written, or ""."""
    name, runtime = next(iter(results.models.items()))
    if not any(results.paths.asset(runtime["asset"]).glob("*.safetensors")):
        return f"the files of model {name} are not on this machine"
    row = next(
        (rows[0] for domain in showable(results) if (rows := results.texts(name, results.baseline, domain, 1))), None
    )
    if row is None:
        return "the licence of no text allows to show it, or none was generated"
    from autocontrastive_gen.inspection.lens_reading import lens

    fields = {"use_original_head": False, "output_layer_index": runtime["exits"][0]}
    model, tokenizer = load_cell_model(results.paths, name, {**runtime, "dtype": "float32"}, fields)
    prompt = tokenizer(row["prompt"])["input_ids"]
    seen = lens(
        model,
        tokenizer,
        [*prompt, *row["tokens"][:TOKENS]],
        layers="all",
        contrasts=_contrasts(results, name),
        skip=max(0, len(prompt) - BEFORE),
        title=f"{name}, {results.baseline} text of the run {results.paths.profile}",
    )
    seen.to_html(path)
    return ""


def _contrasts(results: Results, name: str) -> dict[str, dict[str, Any]]:
    """The contrasts that ran with the decoder of the text, with the layers and parameters that they ran with."""
    found = {}
    for contrast, plain in results.pairs:
        if plain.name != results.baseline:
            continue
        resolved = read_resolved(results.paths, name, contrast.name)
        label = contrast.name.removeprefix(f"{plain.name}-")
        chosen = f" ({resolved['lower']})" if resolved["lower"] and contrast.lower is None else ""
        found[f"{label}{chosen}"] = exit_fields(resolved)
    return found
