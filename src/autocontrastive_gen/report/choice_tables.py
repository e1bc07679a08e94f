"""What the stage select has measured and chosen on validation prompts, for tables and figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autocontrastive_gen.evaluation.metrics import text_metrics
from autocontrastive_gen.foundation.files import rounded
from autocontrastive_gen.report.columns import MODEL
from autocontrastive_gen.report.methods import in_words
from autocontrastive_gen.report.results import Results
from autocontrastive_gen.report.table import Column, Number, Table


def by_layer(results: Results, model: str) -> dict[str, dict[str, Any]]:
    """{"plain" or lower layer: its scores} of the run's first contrast whose lower layer was chosen.

    Scores are those with the parameters that were chosen; the layer that was chosen has "chosen": True.
    """
    for selection in results.selection.get(model, {}).values():
        chosen = selection["chosen"]
        if chosen and chosen["lower"] is not None:
            candidates = (each for each in selection["candidates"] if each["parameters"] == chosen["parameters"])
            found = {str(each["lower"]): {**each, "chosen": _is(each, chosen)} for each in candidates}
            return {"plain": selection["plain"], **found}
    return {}


def selection_table(results: Results) -> Table:
    """What the rule saw of every candidate, and which ones the settings of the run use."""
    rows = [
        row
        for model, contrasts in results.selection.items()
        for contrast in contrasts
        for row in _rows(results, model, contrast)
    ]
    columns = [MODEL, Column("contrast", "Contrast"), Column("lower", "Lower layer", numeric=True, head=True)]
    columns += [Column("parameters", "Parameters tried")]
    columns += [Column(key, text_metrics()[key].title, numeric=True) for key in ("diversity", "coherence")]
    columns += [Column("coherence_error", "SE of its gain", numeric=True), Column("chosen", "Chosen")]
    columns += [Column("halfway", "Paper's halfway layer")]
    margin = results.plan["select"]["coherence_margin"]
    note = (
        "Chosen on validation prompts, reported on test prompts: the two share no document, and no number of this "
        "table is a result. Greedy search; means over domains. Rule: the most diverse candidate whose coherence is at "
        f"least that without contrast less {margin}. SE: standard error of the difference in coherence from no "
        "contrast, paired by prompt."
    )
    if any(str(row.get("chosen", "")).startswith("for") for row in rows):
        note += " A setting that names its lower layer takes the best candidate with that layer."
    return Table(
        "selection", "What was chosen on validation prompts", columns, rows, note, groups=("model", "contrast")
    )


def _rows(results: Results, model: str, contrast: str) -> list[dict[str, Any]]:
    selection = results.selection[model][contrast]
    where = {"file": results.paths.selection(model).as_posix(), "cell": f"select@{model}"}

    def row(lower: str | None, scores: Mapping[str, Any]) -> dict[str, Any]:
        shown = [key for key in ("diversity", "coherence", "coherence_error") if key in scores]
        numbers = {key: Number(scores[key], **where) for key in shown}
        return {"model": model, "contrast": contrast, "lower": lower, **numbers}

    found = []
    for each in sorted(selection["candidates"], key=lambda each: each["lower"] or 0):
        found.append(row(None if each["lower"] is None else str(each["lower"]), each))
        found[-1]["parameters"] = in_words(each["parameters"]) or None
        found[-1]["chosen"] = _chosen(results, model, contrast, each)
        found[-1]["halfway"] = None if each["lower"] is None else each["lower"] == results.halfway(model)
    return [*found, row("no contrast", selection["plain"])]


def _chosen(results: Results, model: str, contrast: str, candidate: Mapping[str, Any]) -> bool | str:
    """Whether settings that state no lower layer use a candidate; if only those that state it do, for which layer."""
    if _is(candidate, results.selection[model][contrast]["chosen"]):
        return True
    for setting in results.settings_with(contrast):
        if candidate["parameters"] and setting.exit is None and setting.lower == candidate["lower"] is not None:
            used = results.resolved(model, setting.name).get("contrast") or {}
            if all(rounded(used.get(key)) == value for key, value in candidate["parameters"].items()):
                return f"for layer {setting.lower}"
    return False


def _is(candidate: Mapping[str, Any], chosen: Mapping[str, Any] | None) -> bool:
    return chosen is not None and all(candidate[key] == chosen[key] for key in ("lower", "parameters"))
