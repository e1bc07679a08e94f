"""Where the files of a run are: this is the only place that knows.

Stages write to ``runs/<profile>/<stage>/``; what a reader keeps is in ``reports/<profile>/``. A *cell* is one run of a
stage, named as DVC names it (``generate@smollm2-greedy-acd``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

STAGES = ("fetch", "prepare", "train", "select", "generate", "score", "benchmark", "analyse", "report", "track")
PUBLISHED = Path("conf/paper")
"""Folder of published values, a file per source."""
RULES = ("claims", "deviations")
"""Files of that folder that hold no published values."""


@dataclass(frozen=True)
class Paths:
    """Paths of one profile, relative to the project's root (the working directory of every stage)."""

    profile: str

    @property
    def runs(self) -> Path:
        return Path("runs") / self.profile

    @property
    def reports(self) -> Path:
        return Path("reports") / self.profile

    @property
    def plan(self) -> Path:
        """Resolved parameters of every cell, which DVC compares to find the cells that an edit touches."""
        return self.reports / "plan.json"

    # fetch ------------------------------------------------------------------------------------------------------
    def asset(self, name: str) -> Path:
        """Folder of an asset; a model's folder loads with ``from_pretrained``."""
        return self.runs / "fetch" / name

    @property
    def assets(self) -> Path:
        """assets.json: name -> {kind, source, revision, sha256, licence, note, files}."""
        return self.runs / "fetch" / "assets.json"

    @property
    def task_data(self) -> Path:
        """Bundle with the data of the tasks in run.tasks that belong to lm-eval."""
        return self.runs / "fetch" / "lm-eval-tasks"

    # prepare ----------------------------------------------------------------------------------------------------
    @property
    def prepare(self) -> Path:
        return self.runs / "prepare"

    @property
    def training_text(self) -> Path:
        """Folder of ``text-<shard>.jsonl``, one ``{"id", "source", "text"}`` per document, in reading order."""
        return self.prepare / "text"

    @property
    def validation_text(self) -> Path:
        """``{"id", "domain", "text"}`` per line: held-out documents for the perplexity of each exit."""
        return self.prepare / "validation.jsonl"

    def prompts(self, domain: str, split: str = "test") -> Path:
        """``{"id", "document", "prompt", "human"}`` per line.

        ``split`` is "test" (reported) or "validation" (choice of layers).
        """
        return self.prepare / "prompts" / split / f"{domain}.jsonl"

    @property
    def tasks(self) -> Path:
        """lm-eval task folder: ``<task>.yaml`` with its ``<task>.jsonl``."""
        return self.prepare / "tasks"

    @property
    def validation_tasks(self) -> Path:
        """The same for the items on which layers are chosen, and ``items.json``: {task: their number}."""
        return self.prepare / "validation-tasks"

    @property
    def data_card(self) -> Path:
        return self.prepare / "card.json"

    # train ------------------------------------------------------------------------------------------------------
    def train(self, model: str) -> Path:
        return self.runs / "train" / model

    def exits(self, model: str) -> Path:
        """Trained exits without the base model; ``AutoMultiExitModel`` attaches them to it."""
        return self.train(model) / "exits"

    def exit_digests(self, model: str) -> Path:
        """json: {layer: sha256 of the exit's weights}."""
        return self.train(model) / "digests.json"

    def curves(self, model: str) -> Path:
        """csv: step, tokens, layer, loss, validation_perplexity (empty where not measured)."""
        return self.train(model) / "curves.csv"

    def exit_quality(self, model: str) -> Path:
        """json: {domain: {layer: {perplexity, agreement, entropy, tokens}}}, layer "original" included."""
        return self.train(model) / "exits.json"

    # select -----------------------------------------------------------------------------------------------------
    def select(self, model: str) -> Path:
        return self.runs / "select" / model

    def selection(self, model: str) -> Path:
        """json by contrast: the rule, what it chose, and the diversity and coherence of every candidate."""
        return self.select(model) / "selection.json"

    def benchmark_selection(self, model: str) -> Path:
        """The same for the choice of ``select.benchmark_tasks``, with the accuracy of every candidate."""
        return self.select(model) / "benchmark-selection.json"

    def resolved(self, model: str, setting: str) -> Path:
        """``{"upper", "lower", "contrast", "exits": {layer: sha256}}``: what a setting runs with, nothing left open.

        "contrast" is its entry in full, and "exits" has the digests of the weights that it reads. ``generate`` and
        ``benchmark`` depend on this file alone and not on weights or on what was tried: a plain setting, whose file
        names no exit, does not run again when training changes, and no setting does when the same choice comes out.
        """
        return self.select(model) / "settings" / f"{setting}.json"

    # cells ------------------------------------------------------------------------------------------------------
    def generate(self, model: str, setting: str) -> Path:
        return self.runs / "generate" / f"{model}-{setting}"

    def texts(self, model: str, setting: str, domain: str) -> Path:
        """``{"id", "prompt", "continuation", "tokens", "changed"}`` per line, in the order of the prompts."""
        return self.generate(model, setting) / f"{domain}.jsonl"

    def score(self, model: str) -> Path:
        return self.runs / "score" / model

    def metrics(self, model: str) -> Path:
        """json: {setting or "human": {domain: {metric: {value, low, high, n}}}}."""
        return self.score(model) / "metrics.json"

    def per_prompt(self, model: str) -> Path:
        """csv: setting, domain, id, one column per metric, and the counts unique_2, total_2, ... unique_4, total_4.

        Corpus diversity pools the n-gram counts over texts, so paired tests of it need them by document.
        """
        return self.score(model) / "per_prompt.csv"

    def drafts(self, model: str) -> Path:
        """json: {"costs": {layer: cost of a step}, "settings": {setting: ``evaluation.drafting.drafting``}}."""
        return self.score(model) / "drafts.json"

    def lens(self, model: str, domain: str) -> Path:
        """html: what every layer wanted along the first text of the run's baseline in a domain."""
        return self.score(model) / f"lens-{domain}.html"

    def benchmark(self, model: str, setting: str) -> Path:
        return self.runs / "benchmark" / f"{model}-{setting}"

    def results(self, model: str, setting: str) -> Path:
        """json: {task: {metric: {value, stderr, n}}}."""
        return self.benchmark(model, setting) / "results.json"

    def items(self, model: str, setting: str) -> Path:
        """csv: task, id, document, metric, value: one row per item, so that settings are compared item by item."""
        return self.benchmark(model, setting) / "items.csv"

    # analyse ----------------------------------------------------------------------------------------------------
    def analyse(self, model: str) -> Path:
        return self.runs / "analyse" / model

    def analysed(self, model: str) -> Path:
        """json: what the run asks for, {"answers": tasks, "budgets": number of budgets}."""
        return self.analyse(model) / "asked.json"

    def exit_training(self, model: str) -> Path:
        """json: what ``pipeline.exit_training.measure`` gives; absent if the run does not ask for it."""
        return self.analyse(model) / "exit-training.json"

    def answers(self, model: str) -> Path:
        """csv of ``evaluation.answer_kinds.COLUMNS``; absent if the run does not ask for it."""
        return self.analyse(model) / "answers.csv"

    # exempt from "same bytes" -------------------------------------------------------------------------------------
    def cost(self, stage: str, cell: str = "") -> Path:
        """json of one cell: wall seconds, CPU seconds, peak memory, device. Only ``report`` reads it."""
        return self.runs / "cost" / f"{stage}{'-' + cell if cell else ''}.json"

    @property
    def receipt(self) -> Path:
        return self.runs / "track" / "receipt.json"


def halfway(layers: int) -> int:
    """The paper's lower layer of ``layers``: 12 of 24."""
    return layers // 2
