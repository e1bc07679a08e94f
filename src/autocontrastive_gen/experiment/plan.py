"""The plan: for every cell, the parameters that can change its output, and no others.

``fetch`` resolves ``params.yaml`` into the plan. Each cell's stage depends, in dvc.yaml, on its own entry and reads its
parameters from there alone: what a stage can see is exactly what makes DVC run it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from autocontrastive_gen.experiment.params import PROFILES, Params, PathAsset, load_params
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.experiment.settings import Setting, parse_benchmark_setting, parse_setting
from autocontrastive_gen.foundation.digests import file_sha256, fingerprint
from autocontrastive_gen.foundation.errors import InputError, MissingFileError
from autocontrastive_gen.foundation.files import write_text

_DECODE_KEYS = {"greedy": (), "beam": ("num_beams",), "top-k": ("top_k",), "top-p": ("top_p",)}


def build(params: Params) -> dict[str, Any]:
    """Plan of a run: {stage: entry}, by model and setting where the stage has cells."""
    p = params.model_dump(mode="json")
    models, run = run_models(params), params.run
    domains = {name: p["domains"][name] for name in run.domains}
    used = sorted({*run.domains, *params.prepare.training.sources})
    sources = {name: {**p["domains"][name], **_pinned(params, p["domains"][name]["asset"])} for name in used}
    settings = [parse_setting(name) for name in run.settings]
    benchmarks = [parse_benchmark_setting(name) for name in run.benchmark_settings]
    contrast = p["contrast"]
    seed = {"seed": params.seed}
    encoder = {f"coherence_{key}": value for key, value in _pinned(params, params.score.coherence_asset).items()}
    runtime = {name: _runtime(params, model) for name, model in models.items()}
    return {
        "prepare": {**p["prepare"], **seed, "sources": sources, "domains": run.domains, "tasks": run.tasks},
        "train": {
            name: {
                **p["train"],
                **seed,
                **encoder,
                "model": {**model, **runtime[name]},
                "tokens": params.prepare.training.tokens,
                "select": p["select"] if model["lower"] == "auto" else None,
                "domains": run.domains,
            }
            for name, model in models.items()
        },
        "generate": {
            name: {s.name: {**seed, **_generate(params, s), "model": runtime[name]} for s in settings}
            for name, model in models.items()
        },
        "score": {
            name: {
                **p["score"],
                **encoder,
                "mauve_features": _pinned(params, features) if (features := params.score.mauve_asset) else None,
                **seed,
                "model": runtime[name],
                "settings": run.settings,
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
                    "contrast": contrast if s.contrast else None,
                }
                for s in benchmarks
            }
            for name, model in models.items()
        },
        "report": {
            **p["report"],
            **seed,
            "bootstrap": p["score"]["bootstrap"],
            "coherence_asset": params.score.coherence_asset,
            "mauve_asset": params.score.mauve_asset,
            "contrast": contrast,
            "generate": p["generate"],
            "benchmark": p["benchmark"],
            "select": p["select"],
            "models": models,
            "domains": domains,
            "settings": run.settings,
            "benchmark_settings": run.benchmark_settings,
            "tasks": run.tasks,
        },
        "track": {**p["track"], "models": run.models},
    }


def run_models(params: Params) -> dict[str, dict]:
    return {name: params.models[name].model_dump(mode="json") for name in params.run.models}


def _runtime(params: Params, model: dict) -> dict:
    """What decoding needs to know of a model; its exits and layers come from the resolved setting instead."""
    return {**_pinned(params, model["asset"]), "dtype": model["dtype"], "mode": model["mode"]}


def _pinned(params: Params, name: str) -> dict:
    """An asset's name and what pins its content: cells depend on these and not on the folder of all assets.

    Files on disk that no digest pins are pinned by what they hold, so that changed ones are noticed; another mirror
    gives the same file.
    """
    asset = params.assets[name]
    source = asset.pins()
    if isinstance(asset, PathAsset) and asset.sha256 is None:
        source["content"] = _content(Path(asset.path).expanduser())
    return {"asset": name, "source": source}


def _content(path: Path) -> str | None:
    """Digest of a file, or of a folder's files and their names; None if there is none, which ``fetch`` tells."""
    if path.is_file():
        return file_sha256(path)
    files = {file.relative_to(path).as_posix(): file_sha256(file) for file in path.rglob("*") if file.is_file()}
    return fingerprint(files) if files else None


def _generate(params: Params, setting: Setting) -> dict:
    generate = params.generate.model_dump(mode="json")
    keys = ("new_tokens", "batch_size", *_DECODE_KEYS[setting.decode])
    contrast = params.contrast.model_dump(mode="json") if setting.contrast else None
    return {**{key: generate[key] for key in keys}, "contrast": contrast, "domains": params.run.domains}


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data) -> bool:
        return True  # every entry stands for itself: DVC stores them one by one


def edited(params: Params) -> list[str]:
    """Dotted names of all parameters that differ from the profile's own file, if any of them reaches a cell."""
    path = PROFILES / f"{params.profile}.yaml"
    if not path.exists():
        return []
    own = load_params(path)
    if build(own) == build(params):
        return []
    return sorted(_differences(params.model_dump(mode="json"), own.model_dump(mode="json")))


def _differences(a: Any, b: Any, name: str = "") -> Iterator[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in {*a, *b}:
            yield from _differences(a.get(key), b.get(key), f"{name}.{key}" if name else key)
    elif a != b:
        yield name


def write_plan(params: Params) -> None:
    plan = build(params)
    plan["report"]["edited"] = edited(params)
    text = yaml.dump(plan, Dumper=_Dumper, sort_keys=True, width=120, allow_unicode=True)
    write_text(Paths(params.profile).plan, "# Written by the fetch stage from params.yaml: do not edit.\n" + text)


def read_plan(profile: str, *keys: str) -> dict[str, Any]:
    """Entry of the plan under ``keys``, say ``("generate", model, setting)``; KeyError-free: ValueError if absent."""
    path = Paths(profile).plan
    if not path.exists():
        raise MissingFileError(f"{path}: there is no plan yet; run `dvc repro fetch` first")
    entry = yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    for i, key in enumerate(keys):
        if key not in entry:
            raise InputError(f"{'.'.join(keys[: i + 1])}: not in {path}; there are: {', '.join(map(str, entry))}")
        entry = entry[key]
    return entry
