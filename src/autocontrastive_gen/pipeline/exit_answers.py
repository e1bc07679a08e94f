"""What every exit of a model, alone and in contrast, says to the items of benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autocontrastive_gen.evaluation.answer_reading import AnswerLM, rows_of
from autocontrastive_gen.evaluation.benchmarks import evaluate
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.modeling.layers import ORIGINAL
from autocontrastive_gen.modeling.methods.acd import Acd
from autocontrastive_gen.pipeline.cell_model import load_cell_model


def read_answers(name: str, plan: Mapping[str, Any], paths: Paths) -> list[dict[str, Any]]:
    """Rows of ``answer_kinds.COLUMNS`` for all items of the tasks."""
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
