"""How much training an exit needs: the exit at one layer, trained anew per token budget and projection mode.

Each cell trains that exit as the stage ``train`` does, measures it on held-out text, contrasts greedy search with it on
validation prompts, and scores a task with it. A cell is one file, so that a run continues where it was stopped.
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
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation.digests import fingerprint
from autocontrastive_gen.foundation.files import read_json, read_jsonl, write_json
from autocontrastive_gen.foundation.processes import Processes
from autocontrastive_gen.modeling.layers import ORIGINAL
from autocontrastive_gen.pipeline.benchmark_cell import load_lm
from autocontrastive_gen.pipeline.cell_model import load_model
from autocontrastive_gen.pipeline.choice import score_exits, summary
from autocontrastive_gen.pipeline.code import code_digest
from autocontrastive_gen.pipeline.train_cell import load_untrained, read_texts, train_settings, validation_texts
from autocontrastive_gen.training.fit import fit_exits

log = logging.getLogger(__name__)

PLAIN = "plain"
DIRECT = "SHARED_PROJECTION_DIRECT"
MODES = {"direct": DIRECT, "cast": "SHARED_PROJECTION_CAST_OUTPUTS", "head": "LAYER_SPECIFIC_PROJECTION"}
"""Projection modes by the names that tables and files give them."""


@dataclass(frozen=True)
class Study:
    """What is measured of every cell."""

    model: str
    """Key of the model in params."""
    layer: int
    """Layer of the exit, which is the lower one of the contrast."""
    task: str
    """A task made by ``prepare``."""
    prompts: int
    """Validation prompts per domain."""
    items: int
    """Items of the task."""

    def measure(self, cells: Sequence[tuple[str, int]], plan: Mapping[str, Any], paths: Paths) -> list[dict[str, Any]]:
        """One row for no contrast, and one per cell of (mode, token budget).

        Args:
            plan: the whole plan of the run.

        Returns:
            Rows of "mode", "budget", "tokens", "exit_perplexity" and "agreement" (means over domains, geometric for
            perplexity), "diversity", "coherence", and the metrics of the task.
        """
        rows = []
        for mode, budget in [(PLAIN, 0), *cells]:
            entry = self._entry(mode, budget, plan)
            folder = paths.runs / "exit-training" / self.model
            key = fingerprint([vars(self), entry, code_digest("train"), code_digest("benchmark"), self._card(paths)])
            file = folder / f"{mode}-{budget}-{key[:12]}.json"
            if not file.exists():
                write_json(file, {"mode": mode, "budget": budget, **self._cell(mode, entry, paths)})
                log.info("%s, %d tokens: %s", mode, budget, file)
            rows.append(read_json(file))
        return rows

    def _entry(self, mode: str, budget: int, plan: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of one cell."""
        train, select = plan["train"][self.model], plan["select"][self.model]
        benchmark = next(iter(plan["benchmark"][self.model].values()))
        return {
            "train": {**train, "tokens": budget, "model": {**train["model"], "mode": MODES.get(mode, DIRECT)}},
            "select": {key: select[key] for key in ("new_tokens", "seed", "coherence_asset")},
            "benchmark": {"batch_size": benchmark["batch_size"], "num_fewshot": 0, "seed": benchmark["seed"]},
        }

    def _card(self, paths: Paths) -> str:
        """Stands for the prepared texts, prompts and items: their card names their digests."""
        return paths.data_card.read_text(encoding="utf-8")

    def _cell(self, mode: str, entry: Mapping[str, Any], paths: Paths) -> dict[str, Any]:
        found: dict[str, Any] = {}
        with tempfile.TemporaryDirectory(prefix="exit-training-") as folder:
            exits, contrast = None, {"use_original_head": True}
            if mode != PLAIN:
                exits = Path(folder)
                found = self._trained(entry["train"], exits, paths)
                contrast = {"use_original_head": False, "contrast_layer_indices": (ORIGINAL, self.layer)}
            found |= self._texts(exits, contrast, entry, paths)
            return found | self._scored(exits, contrast, entry, paths)

    def _trained(self, train: Mapping[str, Any], exits: Path, paths: Paths) -> dict[str, Any]:
        """Train the exit, write it into the folder ``exits``, and measure it."""
        asset, entry = paths.asset(train["model"]["asset"]), {**train["model"], "exits": [self.layer]}
        model, tokenizer = load_untrained(asset, entry, Processes.start())
        fitted = fit_exits(
            model,
            tokenizer,
            read_texts(paths.training_text),
            validation_texts(paths, train["domains"]),
            train_settings(train),
            tokens=train["tokens"] or None,
            seed=train["seed"],
        )
        model.save_exits(exits)
        qualities = [measured[str(self.layer)] for measured in fitted.quality.values()]
        return {"tokens": fitted.tokens, **_means(qualities)}

    def _texts(self, exits: Path | None, contrast: Mapping[str, Any], entry: Mapping[str, Any], paths: Paths) -> dict:
        """Diversity and coherence of greedy search on validation prompts."""
        train, select = entry["train"], entry["select"]
        base, dtype = paths.asset(train["model"]["asset"]), train["model"]["dtype"]
        model, tokenizer = load_model(base, exits, dtype, contrast, local_files_only=True)
        encoder = load_encoder(paths.asset(select["coherence_asset"]), str(model.device))
        prompts = {name: read_jsonl(paths.prompts(name, "validation"))[: self.prompts] for name in train["domains"]}
        scores = score_exits(model, tokenizer, encoder, prompts, select["new_tokens"], select["seed"])
        return {key: value for key, value in summary(scores).items() if key in ("diversity", "coherence")}

    def _scored(self, exits: Path | None, contrast: Mapping[str, Any], entry: Mapping[str, Any], paths: Paths) -> dict:
        model = entry["train"]["model"]
        lm = load_lm(paths.asset(model["asset"]), exits, model["dtype"], entry["benchmark"]["batch_size"], contrast)
        output = evaluate(lm, [self.task], [paths.tasks], {**entry["benchmark"], "limit": self.items})
        metrics = results(output)[self.task] if output else {}
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
