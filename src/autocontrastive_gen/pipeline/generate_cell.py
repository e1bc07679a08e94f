"""One cell of the generate stage: the prompts of every domain, continued by one model under one setting."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.experiment.settings import parse_setting
from autocontrastive_gen.foundation.digests import file_sha256, fingerprint
from autocontrastive_gen.foundation.errors import MissingFileError
from autocontrastive_gen.foundation.files import SCRATCH, read_json, read_jsonl, write_jsonl
from autocontrastive_gen.generation.decoder import DECODERS, Decoder
from autocontrastive_gen.pipeline.cell_model import exit_fields, load_cell_model
from autocontrastive_gen.pipeline.code import code_digest

log = logging.getLogger(__name__)


def generate_cell(name: str, setting_name: str, plan: Mapping[str, Any], paths: Paths, cost: dict[str, Any]) -> None:
    """Continue every domain's prompts; finished batches survive an interruption in ``.scratch``."""
    from autocontrastive_gen.foundation.processes import Processes
    from autocontrastive_gen.generation.annotate import annotate
    from autocontrastive_gen.generation.decode import generate_texts

    resolved = _resolved(paths, name, setting_name)
    prompts = {domain: paths.prompts(domain) for domain in plan["domains"]}
    key = [plan, resolved, {domain: file_sha256(path) for domain, path in prompts.items()}, code_digest("generate")]
    scratch = SCRATCH / "generate" / fingerprint(key)[:16]
    share = Processes.start().share
    model, tokenizer = load_cell_model(paths, name, plan["model"], exit_fields(resolved, plan["contrast"]))
    decoder = _decoder(parse_setting(setting_name).decode, plan)
    batch_size, tokens = plan["batch_size"], 0
    texts: dict[Path, list[dict]] = {}
    for domain, path in prompts.items():
        keep = scratch / domain
        rows = generate_texts(
            model,
            tokenizer,
            read_jsonl(path),
            decoder,
            plan["new_tokens"],
            plan["seed"],
            batch_size,
            keep=keep / "texts",
            share=share,
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


def _decoder(name: str, plan: Mapping[str, Any]) -> Decoder:
    """The decoder of that name with those of its parameters that the plan's entry holds."""
    return DECODERS.build(name, {key: plan[key] for key in ("num_beams", "top_k", "top_p") if key in plan})


def _resolved(paths: Paths, name: str, setting: str) -> dict[str, Any]:
    path = paths.resolved(name, setting)
    if not path.exists():
        raise MissingFileError(
            f"{path}: no layers are known for {setting!r}; run `dvc repro train@{name}` first, and see that "
            f"models.{name}.exits has a layer below the upper exit"
        )
    return read_json(path)
