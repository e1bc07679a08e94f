"""One cell of the select stage: what each contrast leaves open is chosen, and the settings are resolved.

Nothing here trains anything. Generation and benchmarks choose together, by the texts, or apart
(``select.benchmark_tasks``): what makes texts diverse need not make answers right.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

from autocontrastive_gen.experiment.paths import Paths, halfway
from autocontrastive_gen.foundation.files import read_json, write_json
from autocontrastive_gen.modeling.layers import read_depth
from autocontrastive_gen.pipeline.benchmark_choice import choose_accurate
from autocontrastive_gen.pipeline.candidate_scores import AccuracyScores, CandidateScores, CellModel, TextScores
from autocontrastive_gen.pipeline.choice import choose
from autocontrastive_gen.pipeline.resolution import OPEN, Choice, Measured, Rule, best, resolve_setting

TEXT_RULE = "highest diversity subject to coherence >= plain - {margin}, greedy search, validation prompts"
ITEM_RULE = "nearest to layer {halfway} within one standard error of the highest accuracy, validation items of {tasks}"


def select_cell(name: str, plan: Mapping[str, Any], paths: Paths, cost: dict[str, Any]) -> str:
    """Write ``paths.selection`` (and ``paths.benchmark_selection``) and ``paths.resolved`` of one model."""
    depth = read_depth(paths.asset(plan["model"]["asset"]))
    digests, cell = read_json(paths.exit_digests(name)), CellModel(name, plan, paths)
    apart = bool(plan["benchmark_tasks"])
    generation = _plan_of(plan, benchmarks=False) if apart else plan
    of_texts = _choice(TextScores(cell, generation), _text_rule(plan), depth)
    rule = TEXT_RULE.format(margin=plan["coherence_margin"])
    selections = {paths.selection(name): _selections(of_texts, plan, depth, rule)}
    resolved = _resolved(generation, depth, of_texts, digests)
    if apart:
        benchmarks = _plan_of(plan, benchmarks=True)
        of_items = _choice(AccuracyScores(cell, benchmarks), _item_rule(depth), depth)
        rule = ITEM_RULE.format(halfway=halfway(depth), tasks=" and ".join(plan["benchmark_tasks"]))
        selections[paths.benchmark_selection(name)] = _selections(of_items, plan, depth, rule)
        resolved |= _resolved(benchmarks, depth, of_items, digests)
    shutil.rmtree(paths.select(name), ignore_errors=True)
    for setting, content in resolved.items():
        write_json(paths.resolved(name, setting), content, digits=17)  # parameters, which results depend on
    for path, content in selections.items():
        write_json(path, content)
    cost["candidates"] = sum(len(each["candidates"]) for content in selections.values() for each in content.values())
    return _said(*selections.values()) or f"{len(resolved)} settings resolved"


def _plan_of(plan: Mapping[str, Any], benchmarks: bool) -> dict[str, Any]:
    """The plan with the settings of benchmarks, or those of generation, alone."""
    settings = {name: each for name, each in plan["settings"].items() if each["benchmark"] == benchmarks}
    return {**plan, "settings": settings}


def _text_rule(plan: Mapping[str, Any]) -> Rule:
    return lambda plain, candidates: choose(plain, candidates, plan["coherence_margin"])


def _item_rule(depth: int) -> Rule:
    return lambda plain, candidates: choose_accurate(candidates, halfway(depth))


def _choice(scores: CandidateScores, rule: Rule, depth: int) -> Choice:
    """Measure every contrast that leaves something open."""
    measured = {name: found for name in scores.plan["contrasts"] if (found := scores.of(name, depth))}
    return Choice(measured, rule)


def _resolved(plan: Mapping[str, Any], depth: int, choice: Choice, digests: Mapping[str, str]) -> dict[str, Any]:
    return {setting: resolve_setting(setting, plan, depth, choice, digests) for setting in plan["settings"]}


def _selections(choice: Choice, plan: Mapping[str, Any], depth: int, rule: str) -> dict[str, Any]:
    """By contrast: the rule, the candidate that it chose for the model's upper exit, and the scores of each."""
    upper, found = plan["model"]["upper"], {}
    for contrast, measured in choice.measured.items():
        candidate = best(choice, contrast, OPEN, upper, plan, depth)
        chosen = candidate and {key: candidate[key] for key in ("lower", "parameters")}
        found[contrast] = {"rule": rule, "upper": upper, "chosen": chosen, **_summarised(measured)}
    return found


def _summarised(measured: Measured) -> Measured:
    """Without the scores of single items."""
    candidates = [{key: value for key, value in each.items() if key != "items"} for each in measured["candidates"]]
    return {**measured, "candidates": candidates}


def _said(generation: Mapping[str, Any], benchmarks: Mapping[str, Any] | None = None) -> str:
    """As in "acd contrasts with layer 25, in benchmarks with layer 15"."""
    parts = [_chosen(contrast, each, " contrasts") for contrast, each in generation.items()]
    parts += [_chosen(f"in benchmarks {contrast}", each, "") for contrast, each in (benchmarks or {}).items()]
    return ", ".join(parts)


def _chosen(contrast: str, selection: Mapping[str, Any], verb: str) -> str:
    chosen = selection["chosen"] or {"lower": None, "parameters": {}}
    layer = f"{verb} with layer {chosen['lower']}" if chosen["lower"] else ""
    return " ".join([contrast + layer, *(f"{key} {value}" for key, value in chosen["parameters"].items())])
