"""One cell of the analyse stage: what a run is asked to take apart, with one model."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autocontrastive_gen.evaluation.answer_kinds import COLUMNS
from autocontrastive_gen.evaluation.answer_reading import AnswerLM, rows_of
from autocontrastive_gen.evaluation.benchmarks import evaluate
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation.digests import file_sha256, fingerprint
from autocontrastive_gen.foundation.files import SCRATCH, write_csv, write_json
from autocontrastive_gen.modeling.layers import ORIGINAL
from autocontrastive_gen.modeling.methods.acd import Acd
from autocontrastive_gen.pipeline.cell_model import load_cell_model
from autocontrastive_gen.pipeline.code import code_digest
from autocontrastive_gen.pipeline.exit_training import measure


def analyse_cell(name: str, plan: Mapping[str, Any], paths: Paths, cost: dict[str, Any]) -> str:
    """Write ``paths.exit_training`` and ``paths.answers``, each if the run asks for it, and what it asks for."""
    shutil.rmtree(paths.analyse(name), ignore_errors=True)
    write_json(paths.analysed(name), {"answers": plan["answers"]["tasks"], "budgets": plan["exit_training"]["budgets"]})
    done = []
    if plan["answers"]["tasks"]:
        rows = read_answers(name, plan["answers"], paths)
        write_csv(paths.answers(name), list(COLUMNS), rows)
        done.append(f"{len({(row['task'], row['id']) for row in rows})} items under every exit")
    if plan["exit_training"]["budgets"]:
        scratch = _scratch(name, plan["exit_training"], paths)
        table = measure(plan["exit_training"], paths, scratch)
        write_json(paths.exit_training(name), table)
        shutil.rmtree(scratch, ignore_errors=True)
        done.append(f"exits trained in {len(table['rows'])} ways")
    return ", ".join(done) or "nothing was asked for"


def read_answers(name: str, plan: Mapping[str, Any], paths: Paths) -> list[dict[str, Any]]:
    """Rows of ``COLUMNS`` for all items of the tasks."""
    with_exits = {"use_original_head": False, "output_layer_index": plan["model"]["exits"][0]}
    model, tokenizer = load_cell_model(paths, name, plan["model"], with_exits)
    contrast = Acd()
    lm = AnswerLM(model, tokenizer, plan["batch_size"], views(model.exit_layers, contrast), contrast.alpha)
    output = evaluate(lm, plan["tasks"], [paths.tasks], plan)
    return [*rows_of(lm, output["samples"])] if output else []


def views(layers: tuple[int, ...], contrast: Acd) -> dict[str, dict[str, Any]]:
    """{name: fields of the configuration} of the model's own head, each exit alone, and contrast with each."""
    alone = {f"exit{layer}": {"output_layer_index": layer} for layer in layers}
    contrasted = {
        f"{contrast.name}{layer}": {"contrast_layer_indices": (ORIGINAL, layer), "contrast_function": contrast}
        for layer in layers
    }
    return {ORIGINAL: {"use_original_head": True}, **alone, **contrasted}


def _scratch(name: str, plan: Mapping[str, Any], paths: Paths) -> Path:
    """Folder of what is measured already, of exactly these parameters, texts and code."""
    key = [name, plan, file_sha256(paths.data_card), code_digest("analyse")]
    return SCRATCH / "exit-training" / fingerprint(key)[:16]
