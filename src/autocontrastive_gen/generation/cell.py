"""One cell of the generate stage, and the model of a cell: base, exits where a setting needs them, and the setting."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autocontrastive_gen.experiment.grid import SCRATCH, Paths, parse_setting
from autocontrastive_gen.experiment.provenance import (
    file_sha256,
    fingerprint,
    read_json,
    read_jsonl,
    write_jsonl,
)

log = logging.getLogger(__name__)

_SOURCES = ("generation", "modeling", "evaluation/lm_eval_harness")


def exit_fields(resolved: Mapping[str, Any], contrast: Mapping[str, Any] | None) -> dict[str, Any]:
    """Fields of ``MultiExitConfiguration`` for a resolved setting (``Paths.resolved``)."""
    upper, lower = resolved["upper"], resolved["lower"]
    if lower is not None:
        return {
            "use_original_head": False,
            "contrast_layer_indices": (upper, lower),
            "contrast_function": dict(contrast),
        }
    return (
        {"use_original_head": True}
        if upper == "original"
        else {"use_original_head": False, "output_layer_index": upper}
    )


def load_cell_model(paths: Paths, name: str, runtime: Mapping[str, Any], fields: Mapping[str, Any]):
    """Model and tokenizer of a cell, set by ``fields``; exits are read only if the setting uses one.

    Args:
        name: key of the model in params.
        runtime: "asset" and "dtype" of the plan's entry.
    """
    import torch
    from transformers import AutoTokenizer
    from transformers.utils import logging as transformers_logging

    from autocontrastive_gen.experiment.processes import Processes
    from autocontrastive_gen.modeling.auto_model import AutoMultiExitModel
    from autocontrastive_gen.modeling.configuration import MultiExitConfiguration

    if not sys.stderr.isatty():
        transformers_logging.disable_progress_bar()
    asset = paths.asset(runtime["asset"])
    exits = None if fields["use_original_head"] else paths.exits(name)
    tokenizer = AutoTokenizer.from_pretrained(asset, local_files_only=True, trust_remote_code=False)
    model = AutoMultiExitModel.from_pretrained(
        asset,
        multi_exit_config=MultiExitConfiguration(**fields),
        exits=exits,
        dtype=getattr(torch, runtime["dtype"]),
        local_files_only=True,
    )
    return model.to(Processes.start().device).eval(), tokenizer


def code_digest() -> str:
    """Digest of the code that makes a text: partial results of other code are not gone on with."""
    package = Path(__file__).parent.parent
    files = sorted(path for source in _SOURCES for path in (package / source).glob("*.py"))
    return fingerprint([file_sha256(path) for path in files])


def generate_cell(name: str, setting_name: str, plan: Mapping[str, Any], paths: Paths, cost: dict[str, Any]) -> None:
    """Continue every domain's prompts; finished batches survive an interruption in ``.scratch``."""
    from autocontrastive_gen.experiment.processes import Processes
    from autocontrastive_gen.generation.annotate import annotate
    from autocontrastive_gen.generation.decode import generate_texts

    resolved = _resolved(paths, name, setting_name)
    prompts = {domain: paths.prompts(domain) for domain in plan["domains"]}
    key = [plan, resolved, {domain: file_sha256(path) for domain, path in prompts.items()}, code_digest()]
    scratch = SCRATCH / "generate" / fingerprint(key)[:16]
    share = Processes.start().share
    model, tokenizer = load_cell_model(paths, name, plan["model"], exit_fields(resolved, plan["contrast"]))
    decode = {**plan, "decode": parse_setting(setting_name).decode}
    batch_size, tokens = plan["batch_size"], 0
    texts: dict[Path, list[dict]] = {}
    for domain, path in prompts.items():
        keep = scratch / domain
        rows = generate_texts(
            model, tokenizer, read_jsonl(path), decode, plan["seed"], batch_size, keep=keep / "texts", share=share
        )
        rows = annotate(model, tokenizer, rows, batch_size, keep=keep / "notes", share=share)
        texts[paths.texts(name, setting_name, domain)] = rows
        tokens += sum(len(row["tokens"]) for row in rows)
    if share[0] == 0:
        shutil.rmtree(paths.generate(name, setting_name), ignore_errors=True)
        for path, rows in texts.items():
            write_jsonl(path, rows)
        shutil.rmtree(scratch, ignore_errors=True)
    cost |= {"tokens": tokens, "processes": share[1]}
    log.info("%d tokens written to %s", tokens, paths.generate(name, setting_name))


def _resolved(paths: Paths, name: str, setting: str) -> dict[str, Any]:
    path = paths.resolved(name, setting)
    if not path.exists():
        raise FileNotFoundError(
            f"{path}: no layers are known for {setting!r}; run `dvc repro train@{name}` first, and see that "
            f"models.{name}.exits has a layer below the upper exit"
        )
    return read_json(path)
