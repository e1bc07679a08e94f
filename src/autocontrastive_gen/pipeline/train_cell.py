"""One cell of the train stage: from the plan's entry and prepared text to the files that the cells below read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation.digests import file_sha256, fingerprint
from autocontrastive_gen.foundation.errors import InputError, MissingFileError
from autocontrastive_gen.foundation.files import SCRATCH, read_json, read_jsonl, write_csv, write_json, write_text
from autocontrastive_gen.foundation.processes import Processes
from autocontrastive_gen.modeling.layers import ORIGINAL
from autocontrastive_gen.pipeline.code import code_digest
from autocontrastive_gen.pipeline.model_card import model_card
from autocontrastive_gen.pipeline.precision import state_type
from autocontrastive_gen.training.fit import Fitted, fit_exits
from autocontrastive_gen.training.sharding import shard_trunk
from autocontrastive_gen.training.train_settings import TrainSettings

CURVE_COLUMNS = ["step", "tokens", "layer", "loss", "validation_perplexity"]


def train_cell(name: str, plan: dict[str, Any], paths: Paths, cost: dict[str, Any]) -> str:
    """Train and measure exits, and write everything under ``paths.train(name)``; adds entries to ``cost``."""
    processes = Processes.start()
    asset = paths.asset(plan["model"]["asset"])
    model, tokenizer = load_untrained(asset, plan["model"], processes)
    folder = SCRATCH / "train" / f"{_fingerprint(plan, paths, asset)}-{processes.world}"
    folder.mkdir(parents=True, exist_ok=True)
    validation = validation_texts(paths, plan["domains"])
    with _keys_of_params():
        fitted = fit_exits(
            model,
            tokenizer,
            lambda: read_texts(paths.training_text),
            validation,
            train_settings(plan),
            tokens=plan["tokens"],
            seed=plan["seed"],
            folder=folder,
            processes=processes,
        )
    if processes.main:
        _write(name, plan, paths, model, fitted)
        cost["processes"] = processes.world
        shutil.rmtree(folder)
    processes.wait()
    return f"{len(plan['model']['exits'])} exits, {_perplexities(fitted)}"


def train_settings(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Of the plan's entry "train", the settings of ``fit_exits``."""
    return {each.name: plan[each.name] for each in fields(TrainSettings)}


def _perplexities(fitted: Fitted) -> str:
    """Of the lowest and the highest exit, averaged over domains: "perplexity 192 at layer 15, 59 at layer 27"."""
    measured = list(fitted.quality.values())
    layers = sorted((layer for layer in measured[0] if layer != ORIGINAL), key=int) if measured else []
    means = {layer: sum(exits[layer]["perplexity"] for exits in measured) / len(measured) for layer in layers}
    ends = dict.fromkeys([*layers[:1], *layers[-1:]])
    return "perplexity " + ", ".join(f"{means[layer]:.4g} at layer {layer}" for layer in ends)


def read_texts(folder: Path) -> Iterator[str]:
    """Texts of all shards of ``folder``, in order.

    Raises:
        MissingFileError: there is no shard.
    """
    shards = sorted(folder.glob("*.jsonl"))
    if not shards:
        raise MissingFileError(f"{folder}: no training text (*.jsonl); run `dvc repro prepare` first")
    for shard in shards:
        with open(shard, encoding="utf-8") as file:
            for line in file:
                if line.strip():
                    yield json.loads(line)["text"]


@contextmanager
def _keys_of_params() -> Iterator[None]:
    """Add the keys in params.yaml to a message of ``fit_exits``."""
    try:
        yield
    except InputError as error:
        raise InputError(
            f"{error}\n(params.yaml: these settings are keys of `train`; prepare.training.tokens and "
            "prepare.validation_documents set how much text there is)"
        ) from error


def load_untrained(asset: Path, model: Mapping[str, Any], processes: Processes):
    """A base model with new exits, to be trained, and its tokenizer; ``model`` is the plan's entry "model"."""
    from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
    from autocontrastive_gen.modeling.configuration import MultiExitConfiguration, VocabularyProjectionMode
    from autocontrastive_gen.modeling.tokenizer import load_tokenizer

    configuration = MultiExitConfiguration(
        vocab_projection_mode=VocabularyProjectionMode[model["mode"]], lm_head_layer_indices=tuple(model["exits"])
    )
    dtype = state_type(model["dtype"], trained_on=processes.device.type)
    tokenizer = load_tokenizer(asset, local_files_only=True)
    loaded = AutoMultiExitModel.from_pretrained(
        asset, multi_exit_config=configuration, dtype=dtype, local_files_only=True
    )
    if processes.sharded:
        shard_trunk(loaded, processes)
    return loaded.to(processes.device).eval(), tokenizer


def _fingerprint(plan: dict[str, Any], paths: Paths, asset: Path) -> str:
    """Fingerprint of all that training depends on: parameters, text, base model and this code."""
    files = [*sorted(paths.training_text.glob("*.jsonl")), paths.validation_text]
    files += sorted(path for path in asset.iterdir() if path.is_file())
    return fingerprint([plan, [(path.name, file_sha256(path)) for path in files], code_digest("train")])[:16]


def validation_texts(paths: Paths, domains: list[str]) -> dict[str, list[str]]:
    """The held-out texts of each domain."""
    rows = read_jsonl(paths.validation_text)
    return {domain: [row["text"] for row in rows if row["domain"] == domain] for domain in domains}


def _write(name: str, plan: dict[str, Any], paths: Paths, model, fitted: Fitted) -> None:
    shutil.rmtree(paths.train(name), ignore_errors=True)
    model.save_exits(paths.exits(name))
    assets = read_json(paths.assets) if paths.assets.exists() else {}
    licence = assets.get(plan["model"]["asset"], {}).get("licence", "not stated")
    card = model_card(name, plan, model.num_layers, fitted.quality, licence, fitted.tokens)
    write_text(paths.exits(name) / "README.md", card)
    write_csv(paths.curves(name), CURVE_COLUMNS, fitted.curve)
    write_json(paths.exit_quality(name), fitted.quality)
    write_json(paths.exit_digests(name), {str(layer): digest for layer, digest in fitted.digests.items()})
