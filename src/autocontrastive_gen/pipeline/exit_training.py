"""How much training an exit needs: the exit at one layer, trained anew per token budget and projection mode.

Each cell trains that exit as the stage ``train`` does, measures it on held-out text, contrasts greedy search with it on
validation prompts, and scores a task with it. A cell is one file, so that a run continues where it was stopped. The
states of the trunk, which all cells share, are computed once.
"""

from __future__ import annotations

import logging
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autocontrastive_gen.evaluation.benchmarks import evaluate, results
from autocontrastive_gen.evaluation.encoders import load_encoder
from autocontrastive_gen.experiment.paths import Paths, halfway
from autocontrastive_gen.foundation.files import read_json, read_jsonl, write_json
from autocontrastive_gen.foundation.processes import Processes
from autocontrastive_gen.foundation.progress import ProgressBar
from autocontrastive_gen.modeling.layers import ORIGINAL, read_depth
from autocontrastive_gen.pipeline.benchmark_cell import load_lm
from autocontrastive_gen.pipeline.cell_model import load_model
from autocontrastive_gen.pipeline.choice import score_exits, summary
from autocontrastive_gen.pipeline.train_cell import load_untrained, read_texts, train_settings, validation_texts
from autocontrastive_gen.training.fit import fit_exits

log = logging.getLogger(__name__)

PLAIN = "plain"
DIRECT = "SHARED_PROJECTION_DIRECT"
MODES = {"direct": DIRECT, "cast": "SHARED_PROJECTION_CAST_OUTPUTS", "head": "LAYER_SPECIFIC_PROJECTION"}
"""Projection modes by the names that tables and files give them."""
FEWEST = 20_000
"""Tokens of the smallest budget, if the run trains on more."""


def measure(plan: Mapping[str, Any], paths: Paths, scratch: Path) -> dict[str, Any]:
    """Measure no contrast, and contrast with an exit per mode and token budget.

    Args:
        plan: "budgets", their number; "task", "prompts" per domain and "items"; and the plan's entries "train",
            "select" and "benchmark" of the model.
        scratch: folder that keeps every finished cell, a file each.

    Returns:
        "layer" of the exit, "task", "prompts" per domain, "items", and "rows" of "mode", "budget", "tokens",
        "exit_perplexity" and "agreement" (means over domains, geometric for perplexity), "diversity", "coherence",
        and the metrics of the task.
    """
    layer = halfway(read_depth(paths.asset(plan["train"]["model"]["asset"])))
    batch = plan["train"]["block_size"] * plan["train"]["batch_size"]
    cells = [(PLAIN, 0), *cells_of([*MODES], budgets_of(plan["train"]["tokens"], plan["budgets"], batch))]
    rows = []
    for mode, budget in ProgressBar(cells, desc="exits by training"):
        file = scratch / f"{mode}-{budget}.json"
        if not file.exists():
            entry = {**plan["train"], "tokens": budget}
            entry["model"] = {**entry["model"], "mode": MODES.get(mode, DIRECT)}
            cell = _Cell(layer, {**plan, "train": entry}, paths, scratch)
            write_json(file, {"mode": mode, "budget": budget, **cell.measure(trained=mode != PLAIN)})
            log.info("%s, %d tokens: %s", mode, budget, file)
        rows.append(read_json(file))
    return {"layer": layer, **{key: plan[key] for key in ("task", "prompts", "items")}, "rows": rows}


@dataclass(frozen=True)
class _Cell:
    """One exit, trained, measured and used."""

    layer: int
    plan: Mapping[str, Any]
    paths: Paths
    scratch: Path
    """Folder for what cells share."""

    def measure(self, trained: bool) -> dict[str, Any]:
        found: dict[str, Any] = {}
        with tempfile.TemporaryDirectory(prefix="exit-training-") as folder:
            exits, contrast = None, {"use_original_head": True}
            if trained:
                exits = Path(folder)
                found = self._trained(exits)
                contrast = {"use_original_head": False, "contrast_layer_indices": (ORIGINAL, self.layer)}
            found |= self._texts(exits, contrast)
            return found | self._scored(exits, contrast)

    def _trained(self, exits: Path) -> dict[str, Any]:
        """Train the exit, write it into the folder ``exits``, and measure it."""
        train = self.plan["train"]
        asset, entry = self.paths.asset(train["model"]["asset"]), {**train["model"], "exits": [self.layer]}
        model, tokenizer = load_untrained(asset, entry, Processes.start())
        fitted = fit_exits(
            model,
            tokenizer,
            read_texts(self.paths.training_text),
            validation_texts(self.paths, train["domains"]),
            train_settings(train),
            tokens=train["tokens"] or None,
            seed=train["seed"],
            trunk_states=self.scratch / "training-states",
        )
        model.save_exits(exits)
        qualities = [measured[str(self.layer)] for measured in fitted.quality.values()]
        return {"tokens": fitted.tokens, **_means(qualities)}

    def _texts(self, exits: Path | None, contrast: Mapping[str, Any]) -> dict[str, Any]:
        """Diversity and coherence of greedy search on validation prompts."""
        train, select = self.plan["train"], self.plan["select"]
        base, dtype = self.paths.asset(train["model"]["asset"]), train["model"]["dtype"]
        model, tokenizer = load_model(base, exits, dtype, contrast, local_files_only=True)
        encoder = load_encoder(self.paths.asset(select["coherence_asset"]), str(model.device))
        files = {name: self.paths.prompts(name, "validation") for name in train["domains"]}
        prompts = {name: read_jsonl(file)[: self.plan["prompts"]] for name, file in files.items()}
        scores = score_exits(model, tokenizer, encoder, prompts, select["new_tokens"], select["seed"])
        return {key: value for key, value in summary(scores).items() if key in ("diversity", "coherence")}

    def _scored(self, exits: Path | None, contrast: Mapping[str, Any]) -> dict[str, Any]:
        model, options, task = self.plan["train"]["model"], self.plan["benchmark"], self.plan["task"]
        base, keep = self.paths.asset(model["asset"]), self.scratch / "scoring-states"
        lm = load_lm(base, exits, model["dtype"], options["batch_size"], contrast, layers=[self.layer], keep=keep)
        output = evaluate(lm, [task], [self.paths.tasks], {**options, "limit": self.plan["items"]})
        metrics = results(output)[task] if output else {}
        return {name.partition(",")[0]: metric["value"] for name, metric in metrics.items()}


def _means(qualities: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of the qualities by domain: the geometric mean of perplexities, and the mean agreement."""
    perplexities = [each["perplexity"] for each in qualities]
    agreement = statistics.fmean(each["agreement"] for each in qualities)
    return {"exit_perplexity": statistics.geometric_mean(perplexities), "agreement": agreement}


def cells_of(modes: Sequence[str], budgets: Sequence[int]) -> Iterator[tuple[str, int]]:
    """(mode, budget) in the order of the table: the direct mode is not trained, so it has one cell."""
    for mode in modes:
        yield from [(mode, 0)] if mode == "direct" else [(mode, budget) for budget in budgets]


def budgets_of(tokens: int, count: int, batch: int = 1) -> list[int]:
    """``count`` budgets up to ``tokens``, evenly spaced on a log scale, from 20,000 or, of less text, a sixteenth.

    Args:
        batch: tokens of a batch, the least that can be trained on.
    """
    least = min(tokens, max(batch, FEWEST if tokens > FEWEST else tokens / 16))
    ratio = (tokens / least) ** (1 / max(1, count - 1))
    return [round(least * ratio**i) for i in range(count - 1)] + [tokens]
