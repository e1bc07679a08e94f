"""The plan: for every cell, the parameters that can change its output, and no others.

``fetch`` resolves ``params.yaml`` into the plan. In dvc.yaml, each cell depends on its own entry, and its stage reads
parameters from there only: what a stage can see is exactly what makes DVC run it again.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

from autocontrastive_gen.experiment import own_code
from autocontrastive_gen.experiment.asset_schema import PathAsset
from autocontrastive_gen.experiment.choices import combinations
from autocontrastive_gen.experiment.params import PROFILES, Params, load_params
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.experiment.schema import Contrast
from autocontrastive_gen.experiment.settings import Grid, Setting
from autocontrastive_gen.foundation.digests import file_sha256, fingerprint
from autocontrastive_gen.foundation.files import write_text
from autocontrastive_gen.foundation.trees import differing, leaves
from autocontrastive_gen.generation.decoder import DECODERS
from autocontrastive_gen.modeling.contrast import REGISTRY, check

log = logging.getLogger(__name__)

DRAFTED_TEXTS = 16
"""Texts per domain that are read by all exits: some thousand tokens, where each costs a pass with every exit's logits.
"""

EXIT_PROMPTS, EXIT_ITEMS = 16, 200
"""Validation prompts per domain, and items of the task, on which contrast is scored after each training of an exit."""


def build(params: Params) -> dict[str, Any]:
    """The plan of a run: {stage: entry}, by model and setting if the stage has cells."""
    p, run, models = params.model_dump(mode="json"), params.run, params.run.models
    grid, seed = grid_of(params), {"seed": params.seed}
    domains = {name: p["domains"][name] for name in run.domains}
    sources = {
        name: {**p["domains"][name], **_pinned(params, p["domains"][name]["asset"])} for name in text_sources(params)
    }
    encoder = {f"coherence_{key}": value for key, value in _pinned(params, params.score.coherence_asset).items()}
    runtime = {name: _runtime(params, name) for name in models}
    contrasts = {name: _contrast(params, name) for name in grid.contrasts}
    features = params.score.mauve_asset
    return {
        "prepare": {
            **p["prepare"],
            **seed,
            "benchmark_validation_items": _validation_items(params),
            "sources": sources,
            "domains": run.domains,
            "tasks": run.tasks,
        },
        "train": {name: _trained(params, p, name, runtime[name]) for name in models},
        "select": {
            name: {
                **p["select"],
                **seed,
                **encoder,
                "model": {**runtime[name], **{key: p["models"][name][key] for key in ("exits", "upper", "lower")}},
                "contrasts": contrasts,
                "domains": run.domains,
                "benchmark": _validation_options(params),
                "settings": {s.name: _layers(s) for s in grid.all},
            }
            for name in models
        },
        "generate": {
            name: {
                s.name: {
                    **p["generate"],
                    **seed,
                    "decoder": _decoder(params, s),
                    "domains": run.domains,
                    "model": runtime[name],
                }
                for s in grid.settings
            }
            for name in models
        },
        "score": {
            name: {
                **p["score"],
                **encoder,
                "mauve_features": _pinned(params, features) if features else None,
                **seed,
                "model": runtime[name],
                "settings": run.settings,
                "drafted": {"settings": drafted(params, name), "texts": DRAFTED_TEXTS},
                "lens": {"setting": grid.baseline, "contrasts": grid.beside_baseline},
                "domains": run.domains,
            }
            for name in models
        },
        "benchmark": {
            name: {
                s.name: {
                    **p["benchmark"],
                    **seed,
                    "tasks": run.tasks,
                    "model": runtime[name],
                }
                for s in grid.benchmark_settings
            }
            for name in models
        },
        "analyse": {name: _analysed(params, p, name, runtime[name], {**seed, **encoder}) for name in models},
        "report": {
            **p["report"],
            **seed,
            "bootstrap": p["score"]["bootstrap"],
            "coherence_asset": params.score.coherence_asset,
            "mauve_asset": features,
            "contrasts": contrasts,
            "decoders": {s.decoder: _decoder(params, s) for s in grid.settings},
            "generate": p["generate"],
            "benchmark": p["benchmark"],
            "select": p["select"],
            "train": {"tokens": params.prepare.training.tokens, **p["train"]},
            "models": {name: p["models"][name] for name in models},
            "domains": domains,
            "settings": run.settings,
            "benchmark_settings": run.benchmark_settings,
            "tasks": run.tasks,
            "analyse": p["analyse"],
        },
        "track": {**p["track"], "models": models},
    }


def _trained(params: Params, p: dict, model: str, runtime: dict) -> dict[str, Any]:
    """The entry of ``train``."""
    entry = {**runtime, **{key: p["models"][model][key] for key in ("exits", "note")}}
    tokens = params.prepare.training.tokens
    return {**p["train"], "seed": params.seed, "model": entry, "tokens": tokens, "domains": params.run.domains}


def _analysed(params: Params, p: dict, model: str, runtime: dict, common: dict) -> dict[str, Any]:
    """The entry of ``analyse``: of each part that is asked for, all that it depends on."""
    options = {**p["benchmark"], "seed": params.seed}
    trained = {
        "task": params.run.tasks[0],
        "prompts": EXIT_PROMPTS,
        "items": EXIT_ITEMS,
        "train": _trained(params, p, model, runtime),
        "select": {"new_tokens": params.select.new_tokens, **common},
        "benchmark": options,
    }
    read = {**options, "model": {**runtime, "exits": p["models"][model]["exits"]}}
    budgets, tasks = params.analyse.training_budgets, params.analyse.answers
    return {
        "exit_training": {"budgets": budgets, **(trained if budgets else {})},
        "answers": {"tasks": tasks, **(read if tasks else {})},
    }


def drafted(params: Params, model: str) -> list[str]:
    """The settings whose texts show whether exits could draft: greedy search, plain and with the run's first contrast.

    Empty if nobody asks for it, or the texts are not those of the model's own head.
    """
    if not params.score.drafts or params.models[model].upper != "original":
        return []
    greedy = _in_full("greedy", {}, DECODERS)
    found = [s for s in grid_of(params).settings if s.exit is None and _decoder(params, s) == greedy]
    firsts = (next((s.name for s in found if bool(s.contrast) is contrasted), None) for contrasted in (False, True))
    return [name for name in firsts if name]


def grid_of(params: Params) -> Grid:
    """The settings of a run."""
    return Grid.of(params.run.settings, params.run.benchmark_settings, params.decoders, params.contrasts)


def warnings_of(params: Params) -> list[str]:
    """What the settings of a run cannot show, such as two contrasts that greedy search cannot tell apart."""
    greedy = [s for s in grid_of(params).settings if s.contrast and params.decoders[s.decoder].method == "greedy"]
    found = []
    for name in dict.fromkeys(setting.contrast for setting in greedy):
        entry = params.contrasts[name]
        specs = ({"name": entry.method, **entry.parameters, **each} for each in combinations(entry.choose))
        found += dict.fromkeys(f"contrasts.{name}: {text}" for spec in specs for text in check(spec))
    return found


def own_functions(params: Params) -> list[str]:
    """The ``module:function`` names among the contrasts of the run."""
    methods = (params.contrasts[name].method for name in grid_of(params).contrasts)
    return [method for method in methods if ":" in method]


def _layers(setting: Setting) -> dict[str, Any]:
    """The part of a setting that ``select`` resolves; which decoder it has does not matter."""
    layers = {key: value for key, value in asdict(setting).items() if key in ("exit", "contrast", "lower")}
    return {**layers, "benchmark": setting.decoder is None}


def _validation_items(params: Params) -> dict[str, int]:
    """{task: number of its validation items} of the tasks whose items ``select`` reads."""
    return {task: params.prepare.benchmark_validation_items[task] for task in params.select.benchmark_tasks}


def _validation_options(params: Params) -> dict[str, Any]:
    """How ``select`` runs these tasks, if there are any."""
    how = params.benchmark.model_dump(mode="json", include={"batch_size", "num_fewshot"})
    return how if params.select.benchmark_tasks else {}


def _decoder(params: Params, setting: Setting) -> dict[str, Any]:
    entry = params.decoders[setting.decoder]
    return _in_full(entry.method, entry.parameters, DECODERS)


def _contrast(params: Params, name: str) -> dict[str, Any]:
    """A contrast in full: what it fixes, and under "choose" the values that ``select`` tries."""
    entry = params.contrasts[name]
    found = [_combined(entry, combination) for combination in combinations(entry.choose)]
    fixed = {key: value for key, value in found[0].items() if key not in entry.choose}
    values = {key: [one[key] for one in found] for key in entry.choose}
    choose = {key: [v for i, v in enumerate(every) if v not in every[:i]] for key, every in values.items()}
    return {**fixed, "choose": choose} if choose else fixed


def _combined(entry: Contrast, combination: dict[str, Any]) -> dict[str, Any]:
    """A contrast with one combination of its choices; a function of the user with a digest of its source."""
    parameters = {**entry.parameters, **combination}
    if ":" in entry.method:
        return {"method": entry.method, **parameters, "code": own_code.digest(entry.method)}
    return _in_full(entry.method, parameters, REGISTRY)


def _in_full(method: str, parameters: dict[str, Any], registry) -> dict[str, Any]:
    """An entry with every parameter of its method, so that a default that changes in the code runs its cells again."""
    return {"method": method, **registry.build(method, parameters).parameters}


def _runtime(params: Params, name: str) -> dict[str, Any]:
    """What a stage needs to run a model; the layers come from the resolved setting."""
    model = params.models[name]
    return {**_pinned(params, model.asset), "dtype": model.dtype, "mode": model.mode}


def text_sources(params: Params) -> list[str]:
    """Names of the domains whose text the run reads: for prompts, for training, or for local benchmark tasks."""
    run, prepare = params.run, params.prepare
    of_tasks = (prepare.benchmark_sources.get(task, []) for task in (*run.tasks, *params.select.benchmark_tasks))
    return sorted({*run.domains, *prepare.training.sources, *chain.from_iterable(of_tasks)})


def _pinned(params: Params, name: str) -> dict:
    """An asset's name and what pins its content: cells depend on these and not on the folder of all assets.

    Files on disk without a digest are pinned by their content, so that a change is noticed. Mirrors are left out,
    because they give the same file.
    """
    asset = params.assets[name]
    source = asset.pins()
    if isinstance(asset, PathAsset) and asset.sha256 is None:
        source["content"] = _content(Path(asset.path).expanduser())
    return {"asset": name, "source": source}


def _content(path: Path) -> str | None:
    """Digest of a file, or of a folder's names and files; None if it does not exist, which ``fetch`` reports."""
    if path.is_file():
        return file_sha256(path)
    files = {file.relative_to(path).as_posix(): file_sha256(file) for file in path.rglob("*") if file.is_file()}
    return fingerprint(files) if files else None


def edited(params: Params, plan: dict[str, Any]) -> list[str]:
    """Every parameter that differs from the profile's file, as "key: value (profile: value)".

    The list is empty if none of them reaches a cell of ``plan``, which is that of ``params``.
    """
    path = PROFILES / f"{params.profile}.yaml"
    if not path.exists():
        return []
    own = load_params(path)
    if build(own) == plan:
        return []
    ours, theirs = params.model_dump(mode="json"), own.model_dump(mode="json")
    values, before = leaves(ours), leaves(theirs)
    return [f"{key}: {values.get(key)} (profile: {before.get(key)})" for key in differing(ours, theirs)]


def write_plan(params: Params) -> None:
    """Write the plan of a run, and have DVC watch the user's functions that it uses."""
    for warning in warnings_of(params):
        log.warning("%s", warning)
    plan = build(params)
    own_code.link(own_functions(params))
    plan["report"]["edited"] = edited(params, plan)
    text = json.dumps(plan, indent=1, sort_keys=True, ensure_ascii=False)  # DVC parses it for each of its stages
    write_text(Paths(params.profile).plan, text + "\n")
