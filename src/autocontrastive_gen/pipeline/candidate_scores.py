"""Scores of what a contrast leaves open: of texts for generation, of items for benchmarks.

They are kept in ``.scratch``, so that an edit of the run measures only what is new, and the model is loaded only then.
"""

from __future__ import annotations

import logging
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from math import isfinite
from typing import Any, ClassVar

from autocontrastive_gen.evaluation.benchmarks import evaluate, items
from autocontrastive_gen.evaluation.encoders import load_encoder
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation.digests import file_sha256, fingerprint
from autocontrastive_gen.foundation.files import SCRATCH, read_json, read_jsonl
from autocontrastive_gen.foundation.resume import Kept
from autocontrastive_gen.pipeline.benchmark_choice import accuracy, accuracy_error, item_scores, most_accurate
from autocontrastive_gen.pipeline.cell_model import exit_fields, load_cell_model
from autocontrastive_gen.pipeline.choice import score_exits, summary
from autocontrastive_gen.pipeline.code import code_digest
from autocontrastive_gen.pipeline.entries import with_choice
from autocontrastive_gen.pipeline.resolution import Measured, candidates_of

log = logging.getLogger(__name__)


class CellModel:
    """The model of the cell with its exits, and its tokenizer, loaded when they are first asked for."""

    def __init__(self, name: str, plan: Mapping[str, Any], paths: Paths) -> None:
        self.name, self.plan, self.paths = name, plan, paths

    @cached_property
    def loaded(self) -> tuple[Any, Any]:
        exits = {"use_original_head": False, "output_layer_index": self.plan["model"]["exits"][0]}
        return load_cell_model(self.paths, self.name, self.plan["model"], exits)

    @property
    def key(self) -> list[Any]:
        """What every score depends on."""
        keys = ("asset", "source", "dtype", "mode", "exits", "upper")
        runtime = {key: self.plan["model"][key] for key in keys}
        return [runtime, read_json(self.paths.exit_digests(self.name)), code_digest("select")]


class CandidateScores(ABC):
    """Scores of the candidates of contrasts.

    Args:
        cell: the model.
        plan: the entry of ``select``, with the settings that the scores decide about.
    """

    folder: ClassVar[str]
    """Where the scores are kept, in ``.scratch``."""

    def __init__(self, cell: CellModel, plan: Mapping[str, Any]) -> None:
        self.cell, self.plan, self.paths = cell, plan, cell.paths

    def of(self, contrast: str, depth: int) -> Measured | None:
        """The upper exit alone and every candidate of a contrast; None if it leaves nothing open."""
        candidates = candidates_of(contrast, self.plan, depth)
        if not candidates:
            return None
        entry, plain = self.plan["contrasts"][contrast], self._scores(None, None, "no contrast")
        found = []
        for lower, parameters in candidates:
            values = [f"{name} {value}" for name, value in parameters.items()]
            title = ", ".join([contrast, *([f"lower layer {lower}"] if lower else []), *values])
            scores = self._scores(with_choice(entry, parameters), lower, title)
            found.append(({"lower": lower, "parameters": parameters}, scores))
        return self.measured(plain, found)

    @abstractmethod
    def measured(self, plain: Any, found: list[tuple[dict[str, Any], Any]]) -> Measured:
        """From the scores of the upper exit alone, and of (candidate, its scores)."""

    @property
    @abstractmethod
    def key(self) -> list[Any]:
        """What the scores depend on besides the model."""

    @abstractmethod
    def measure(self, model: Any, tokenizer: Any) -> dict[str, Any]:
        """Scores of the setting that the model has."""

    def _scores(self, contrast: Mapping[str, Any] | None, lower: int | None, title: str) -> Any:
        """Scores of one candidate or, without contrast, of the upper exit alone."""
        kept, file = Kept(SCRATCH / self.folder), f"{fingerprint([*self._whole_key, contrast, lower])[:16]}.json"
        if (known := kept.read_json(file)) is not None:
            return known
        fields = exit_fields({"upper": self.plan["model"]["upper"], "lower": lower, "contrast": contrast})
        model, tokenizer = self.cell.loaded
        with model.set_exits(**fields):
            scores = self.measure(model, tokenizer)
        log.debug("%s: %s", title, self.in_words(scores))
        kept.write_json(file, scores)
        return scores

    @abstractmethod
    def in_words(self, scores: Any) -> str:
        """Scores for the log."""

    @cached_property
    def _whole_key(self) -> list[Any]:
        return [*self.cell.key, *self.key]


class TextScores(CandidateScores):
    """Diversity and coherence under greedy search on validation prompts."""

    folder = "select"

    def measured(self, plain: Any, found: list[tuple[dict[str, Any], Any]]) -> Measured:
        candidates = [{**candidate, **summary(scores, plain)} for candidate, scores in found]
        return {"plain": summary(plain), "candidates": candidates}

    @property
    def key(self) -> list[Any]:
        of_plan = ("new_tokens", "seed", "domains", "coherence_asset", "coherence_source")
        digests = {domain: file_sha256(path) for domain, path in self._prompts.items()}
        return [{key: self.plan[key] for key in of_plan}, digests]

    def measure(self, model: Any, tokenizer: Any) -> dict[str, Any]:
        prompts = {domain: read_jsonl(path) for domain, path in self._prompts.items()}
        return score_exits(model, tokenizer, self._encoder, prompts, self.plan["new_tokens"], self.plan["seed"])

    def in_words(self, scores: Any) -> str:
        return "diversity {diversity:.3f}, coherence {coherence:.3f}".format_map(summary(scores))

    @property
    def _prompts(self) -> dict[str, Any]:
        return {domain: self.paths.prompts(domain, "validation") for domain in self.plan["domains"]}

    @cached_property
    def _encoder(self) -> Any:
        model, _ = self.cell.loaded
        return load_encoder(self.paths.asset(self.plan["coherence_asset"]), str(model.device))


class AccuracyScores(CandidateScores):
    """Accuracy of every validation item of the benchmark tasks that decide."""

    folder = "select-benchmarks"

    def measured(self, plain: Any, found: list[tuple[dict[str, Any], Any]]) -> Measured:
        candidates = [{**each, "accuracy": accuracy(scores), "items": scores} for each, scores in found]
        top = most_accurate(candidates)["items"]
        for each in candidates:
            if isfinite(error := accuracy_error(each["items"], top)):
                each["accuracy_error"] = error
        return {"plain": {"accuracy": accuracy(plain)}, "candidates": candidates}

    @property
    def key(self) -> list[Any]:
        files = sorted(self.paths.validation_tasks.glob("*.jsonl"))
        digests = {file.stem: file_sha256(file) for file in files if file.stem in self.plan["benchmark_tasks"]}
        return [{key: self.plan[key] for key in ("benchmark_tasks", "benchmark", "seed")}, digests]

    def measure(self, model: Any, tokenizer: Any) -> dict[str, Any]:
        tasks, options = self.plan["benchmark_tasks"], {**self.plan["benchmark"], "seed": self.plan["seed"]}
        output = evaluate(self._lm, tasks, [self.paths.validation_tasks], {**options, "limit": None})
        return item_scores(items(output), tasks)

    def in_words(self, scores: Any) -> str:
        return f"accuracy {accuracy(scores):.3f}"

    @cached_property
    def _lm(self) -> Any:
        """For all candidates, so that the trunk runs once."""
        self._datasets = tempfile.TemporaryDirectory(prefix="datasets-")  # local files, read anew by every process
        os.environ.setdefault("HF_DATASETS_CACHE", self._datasets.name)
        from autocontrastive_gen.evaluation.lm_eval_harness.shared_trunk import SharedTrunkLM

        model, tokenizer = self.cell.loaded
        size = self.plan["benchmark"]["batch_size"]
        return SharedTrunkLM(pretrained=model, tokenizer=tokenizer, batch_size=size, layers=model.exit_layers)
