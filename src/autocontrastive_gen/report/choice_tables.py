"""What the stage select has measured and chosen on validation prompts, for tables and figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autocontrastive_gen.evaluation.metrics import text_metrics
from autocontrastive_gen.experiment.settings import Setting
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
    """What the rules saw of every candidate, and which ones the settings of the run use."""
    rows = [
        row
        for model in results.models
        for contrast in results.plan["contrasts"]
        for row in _rows(results, model, contrast)
    ]
    apart = bool(results.benchmark_tasks)
    columns = [MODEL, Column("contrast", "Contrast"), Column("lower", "Lower layer", numeric=True, head=True)]
    columns += [Column("parameters", "Parameters tried")]
    columns += [Column(key, text_metrics()[key].title, numeric=True) for key in ("diversity", "coherence")]
    columns += [Column("coherence_error", "SE of its gain", numeric=True)]
    columns += [Column("chosen", "Chosen for texts" if apart else "Chosen")]
    columns += [Column("accuracy", "Accuracy", numeric=True)]
    columns += [Column("accuracy_error", "SE of its distance from the best", numeric=True)]
    columns += [Column("benchmarks", "Chosen for benchmarks"), Column("halfway", "Paper's halfway layer")]
    note = _note(results)
    if any(str(row.get(key, "")).startswith("for") for row in rows for key in ("chosen", "benchmarks")):
        note += " A setting that names its lower layer takes the best candidate with that layer."
    return Table(
        "selection", "What was chosen on validation prompts", columns, rows, note, groups=("model", "contrast")
    )


def _note(results: Results) -> str:
    note = (
        "Chosen on validation prompts, reported on test prompts: the two share no document, and no number of this "
        "table is a result. Greedy search; means over domains. Rule: the most diverse candidate whose coherence is at "
        f"least that without contrast less {results.plan['select']['coherence_margin']}. SE: standard error of the "
        "difference in coherence from no contrast, paired by prompt."
    )
    if results.benchmark_tasks:
        tasks = " and ".join(results.benchmark_tasks)
        note += (
            f" Benchmarks choose apart, on validation items of {tasks}, and are reported on items of other documents. "
            "Rule: of the candidates whose accuracy is within one standard error of the highest, the one nearest the "
            "paper's halfway layer (of two, the lower one). SE: of the difference in accuracy from the most accurate "
            "candidate, paired by item, over documents."
        )
    return note


def _rows(results: Results, model: str, contrast: str) -> list[dict[str, Any]]:
    """The candidates of a contrast by layer, then no contrast; each with what texts and benchmarks say of it."""
    found: dict[tuple, dict[str, Any]] = {}

    def row(lower: str | None, parameters: str | None) -> dict[str, Any]:
        title = {"model": model, "contrast": contrast, "lower": lower, "parameters": parameters}
        return found.setdefault((lower, parameters), title)

    for purpose in _purposes(results):
        selection = purpose.selections.get(model, {}).get(contrast)
        if selection is None:
            continue
        where = {"file": purpose.path(model).as_posix(), "cell": f"select@{model}"}
        for each in sorted(selection["candidates"], key=lambda each: each["lower"] or 0):
            lower = None if each["lower"] is None else str(each["lower"])
            entry = row(lower, in_words(each["parameters"]) or None)
            entry |= _numbers(each, where)
            entry[purpose.column] = _chosen(results, model, contrast, each, purpose)
            entry["halfway"] = None if lower is None else each["lower"] == results.halfway(model)
        plain = row("no contrast", None)
        plain |= _numbers(selection["plain"], where)
    last = found.pop(("no contrast", None), None)
    return [*found.values(), last] if last else []


def _numbers(scores: Mapping[str, Any], where: Mapping[str, str]) -> dict[str, Number]:
    keys = ("diversity", "coherence", "coherence_error", "accuracy", "accuracy_error")
    return {key: Number(scores[key], **where) for key in keys if key in scores}


@dataclass(frozen=True)
class _Purpose:
    """What a choice is for: its column in the table, its file, and the settings that run with it."""

    column: str
    path: Callable[[str], Path]
    selections: Mapping[str, Mapping[str, dict]]
    settings: tuple[Setting, ...]


def _purposes(results: Results) -> list[_Purpose]:
    paths, grid = results.paths, results.grid
    if not results.benchmark_tasks:
        return [_Purpose("chosen", paths.selection, results.selection, grid.all)]
    return [
        _Purpose("chosen", paths.selection, results.selection, grid.settings),
        _Purpose("benchmarks", paths.benchmark_selection, results.benchmark_selection, grid.benchmark_settings),
    ]


def _chosen(results: Results, model: str, contrast: str, candidate: Mapping[str, Any], purpose: _Purpose) -> bool | str:
    """Whether settings that state no lower layer use a candidate; if only those that state it do, for which layer."""
    if _is(candidate, purpose.selections[model][contrast]["chosen"]):
        return True
    for setting in (each for each in purpose.settings if each.contrast == contrast):
        if candidate["parameters"] and setting.exit is None and setting.lower == candidate["lower"] is not None:
            used = results.resolved(model, setting.name).get("contrast") or {}
            if all(rounded(used.get(key)) == value for key, value in candidate["parameters"].items()):
                return f"for layer {setting.lower}"
    return False


def _is(candidate: Mapping[str, Any], chosen: Mapping[str, Any] | None) -> bool:
    return chosen is not None and all(candidate[key] == chosen[key] for key in ("lower", "parameters"))
