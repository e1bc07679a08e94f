"""What the names of a run stand for: decoders, contrasts and exits, with all their parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autocontrastive_gen.report.results import Results
from autocontrastive_gen.report.table import Column, Table


def methods_table(results: Results) -> Table:
    """One row per decoder, contrast and set of exits that the run uses."""
    rows = [
        {"kind": kind, "name": name, "method": entry["method"], "parameters": _in_full(results, name, entry) or "none"}
        for kind, entries in (("decoder", results.plan["decoders"]), ("contrast", results.plan["contrasts"]))
        for name, entry in entries.items()
    ]
    rows += [
        {
            "kind": "exits",
            "name": model,
            "method": results.models[model]["mode"],
            "parameters": exits_in_words(results, model),
        }
        for model in results.models
    ]
    columns = [Column("kind", "Kind"), Column("name", "Name", head=True), Column("method", "Method")]
    columns.append(Column("parameters", "Parameters"))
    note = "A setting is a decoder, then the exit it reads, then a contrast and its lower layer; not all have each."
    return Table("methods", "What the names stand for", columns, rows, note, groups=("kind",))


def catalogue_note(results: Results, *kinds: str) -> str:
    """A sentence per kind ("decoders", "contrasts"), for the note of a table."""
    sentences = []
    for kind in kinds:
        entries = results.plan[kind]
        words = "; ".join(_entry(results, name, entry) for name, entry in entries.items())
        sentences += [f"{kind.capitalize()}: {words}."] if entries else []
    return " ".join(sentences)


def exits_in_words(results: Results, model: str) -> str:
    """Layers and training of a model's exits."""
    layers = ", ".join(map(str, results.models[model]["exits"]))
    train = results.plan["train"]
    if train["method"] == "none":
        return f"layers {layers}; not trained in this run"
    return (
        f"layers {layers}; {train['method']} on at most {train['tokens']:,} tokens, "
        f"learning rate {train['learning_rate']:g}, {train['epochs']} {'epoch' if train['epochs'] == 1 else 'epochs'}"
    )


def in_words(parameters: Mapping[str, Any]) -> str:
    """``alpha 0.1, minimum_candidates 1``."""
    return ", ".join(f"{key} {_value(value)}" for key, value in parameters.items())


def _entry(results: Results, name: str, entry: Mapping[str, Any]) -> str:
    parts = [entry["method"]] if entry["method"] != name else []
    parts += [words] if (words := _in_full(results, name, entry)) else []
    return f"{name} ({', '.join(parts)})" if parts else name


def _in_full(results: Results, name: str, entry: Mapping[str, Any]) -> str:
    """The parameters of an entry; of those that were chosen, the values that the settings run with."""
    fixed = in_words({key: value for key, value in entry.items() if key not in ("method", "choose")})
    chosen = (_chosen(results, name, key, tried) for key, tried in entry.get("choose", {}).items())
    return ", ".join(filter(None, [fixed, *chosen]))


def _chosen(results: Results, contrast: str, parameter: str, tried: list[Any]) -> str:
    """``alpha 0.3 (chosen from 0.1, 0.3 on validation prompts)``; if settings differ, each value with its settings."""
    users: dict[str, list[str]] = {}
    for model in results.models:
        for setting in results.settings_with(contrast):
            used = results.resolved(model, setting.name).get("contrast") or {}
            if parameter in used:
                title = setting.name if len(results.models) == 1 else f"{model} {setting.name}"
                users.setdefault(_value(used[parameter]), []).append(title)
    values = [value if len(users) == 1 else f"{value} for {', '.join(names)}" for value, names in users.items()]
    everything = ", ".join(map(_value, tried))
    where = "validation prompts and items" if results.benchmark_tasks else "validation prompts"
    return f"{parameter} {' and '.join(values) or '?'} (chosen from {everything} on {where})"


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return "none" if value is None else str(value)
