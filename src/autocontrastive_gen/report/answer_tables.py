"""Why contrast helps in benchmarks, or harms: tables of what it changes in the answers (``answer_kinds.py``)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from autocontrastive_gen.evaluation.answer_kinds import EARLIER, KINDS, OTHER, RIGHT, STOP
from autocontrastive_gen.foundation.digests import seed_for
from autocontrastive_gen.foundation.statistics import by_document, interval, pooled_product
from autocontrastive_gen.modeling.layers import ORIGINAL
from autocontrastive_gen.report.columns import MODEL, N, resampled
from autocontrastive_gen.report.results import Results
from autocontrastive_gen.report.table import Column, Number, Table

TASK, LAYER = Column("task", "Task"), Column("layer", "Lower layer", numeric=True, head=True)


class Answers:
    """The answers of one model to one task: a frame per column, of views by items."""

    def __init__(self, results: Results, model: str, task: str, rows: pd.DataFrame) -> None:
        self.results, self.model, self.task, self.rows = results, model, task, rows
        self.documents = rows[rows["view"] == ORIGINAL].set_index("id")["document"]
        self.layers = sorted(int(view.removeprefix("exit")) for view in set(rows["view"]) if view.startswith("exit"))

    @property
    def has_choices(self) -> bool:
        return bool(self.rows["margin"].notna().any())

    def values(self, column: str) -> pd.DataFrame:
        """A column by item (rows) and view (columns), in the order of the items."""
        table = self.rows.pivot(index="id", columns="view", values=column)
        return table.loc[self.documents.index]

    def mean(self, values: pd.Series, name: str, signed: bool = False) -> Number:
        """Mean over items, with its interval over documents."""
        options = {**self.results.plan["bootstrap"], "seed": seed_for(self.results.plan["seed"], self.task, name)}
        totals = by_document(values.to_numpy(dtype=float), self.documents.loc[values.index])
        return Number.of(interval(totals, pooled_product, **options), signed=signed, **self.where)

    @property
    def where(self) -> dict[str, str]:
        return {"file": self.results.paths.answers(self.model).as_posix(), "cell": f"analyse@{self.model}"}


def answers_of(results: Results, choices: bool) -> Iterator[Answers]:
    """The tasks with multiple choice, or those with one answer per item."""
    for model, table in results.answers.items():
        for task in results.plan["analyse"]["answers"]:
            found = Answers(results, model, task, table[table["task"] == task])
            if len(found.rows) and found.has_choices is choices:
                yield found


def gain_sources_table(results: Results) -> Table:
    """Per layer: the accuracy of the exit and of contrast with it, and how much of the gain a filter gives as well."""
    rows = []
    for answers in answers_of(results, choices=False):
        right, filtered = answers.values("right"), answers.values("filtered")
        for layer in answers.layers:
            alone, contrast = f"exit{layer}", f"acd{layer}"
            rows.append(
                {
                    "model": answers.model,
                    "task": answers.task,
                    "layer": layer,
                    "n": len(right),
                    "exit": answers.mean(right[alone], alone),
                    "plain": answers.mean(right[ORIGINAL], "plain"),
                    "contrast": answers.mean(right[contrast], contrast),
                    "gain": answers.mean(right[contrast] - right[ORIGINAL], f"gain {layer}", signed=True),
                    "plain_filtered": answers.mean(filtered[ORIGINAL], "plain filtered"),
                    "filtered": answers.mean(filtered[contrast], f"filtered {layer}"),
                    "filtered_gain": answers.mean(
                        filtered[contrast] - filtered[ORIGINAL], f"filtered gain {layer}", signed=True
                    ),
                }
            )
    columns = [MODEL, TASK, LAYER, N, Column("exit", "Exit alone", numeric=True, interval=True)]
    columns += [Column("plain", "No contrast", numeric=True, interval=True)]
    columns += [Column("contrast", "Contrast", numeric=True, interval=True)]
    columns += [Column("gain", "Gain", numeric=True, interval=True)]
    columns += [Column("plain_filtered", "No contrast, no stop words", numeric=True, interval=True)]
    columns += [Column("filtered", "Contrast, no stop words", numeric=True, interval=True)]
    columns += [Column("filtered_gain", "Gain beyond the filter", numeric=True, interval=True)]
    note = (
        f"{' '.join(map(_sources, _by_task(rows)))} Accuracy (0–1) as lm-eval counts it; contrast: the paper's, of the "
        "last layer with the exit, at alpha 0.1. No stop words: the first token of an answer is the most likely one "
        "that is no English stop word and no punctuation; with such a filter GPT-2 was scored on LAMBADA (Radford et "
        f"al. 2019). Differences are paired by item; {resampled(results)}."
    )
    title = "Does contrast do more than a stop-word filter?"
    return Table("gain-sources", title, columns, rows, note if rows else "", groups=("model", "task"))


def _by_task(rows: list[dict]) -> list[list[dict]]:
    keys = dict.fromkeys((row["model"], row["task"]) for row in rows)
    return [[row for row in rows if (row["model"], row["task"]) == key] for key in keys]


def _sources(rows: list[dict]) -> str:
    """What the rows of a task say, in two sentences."""
    best = max(rows, key=lambda row: row["gain"].value)
    gain, beyond = best["gain"], best["filtered_gain"]
    if gain.low is None or gain.low <= 0:
        return f"{best['task']}: contrast shows no gain at any layer (the largest is {gain.text})."
    share = 1 - beyond.value / gain.value
    text = (
        f"{best['task']}: the largest gain is {gain.text}, at layer {best['layer']}; where neither side may choose a "
        f"stop word it is {beyond.text}, so the filter accounts for {100 * min(1, max(0, share)):.0f} % of it."
    )
    if len(rows) > 2:
        exits, gains = ([row[key].value for row in rows] for key in ("exit", "gain"))
        text += f" Over {len(rows)} layers, the gain's rank correlation with the exit's own accuracy is "
        text += f"{_rank_correlation(exits, gains):+.2f}.".replace("-", "−")
    return text


def _rank_correlation(a: list[float], b: list[float]) -> float:
    """Spearman's; 0 where one side is constant."""
    first, second = (pd.Series(values).rank() for values in (a, b))
    return float(np.corrcoef(first, second)[0, 1]) if first.nunique() > 1 and second.nunique() > 1 else 0.0


def first_choices_table(results: Results) -> Table:
    """What the model, the exits and contrast choose first, and what became of the items that contrast decides anew."""
    rows = []
    for answers in answers_of(results, choices=False):
        kinds, right = answers.values("kind"), answers.values("right")
        views = [ORIGINAL, *(f"exit{layer}" for layer in answers.layers), *(f"acd{layer}" for layer in answers.layers)]
        for view in views:
            row = {"model": answers.model, "task": answers.task, "view": view, "n": len(kinds)}
            row |= {kind: Number(float((kinds[view] == kind).mean()), **answers.where) for kind in KINDS}
            if view.startswith("acd"):
                won, lost = (right[view] > right[ORIGINAL]), (right[view] < right[ORIGINAL])
                row |= {"won": _counted(kinds[ORIGINAL][won]), "lost": _counted(kinds[view][lost])}
            rows.append(row)
    columns = [MODEL, TASK, Column("view", "Setting", head=True), N]
    titles = {RIGHT: "Right", STOP: "Stop word", EARLIER: "Earlier word", OTHER: "Other word"}
    columns += [Column(kind, titles[kind], numeric=True) for kind in KINDS]
    columns += [Column("won", "Items won: what was chosen before"), Column("lost", "Items lost: what is chosen now")]
    note = (
        "Shares of items (0–1) by the first choice at the answer's first token: the answer's own token; a stop word or "
        "punctuation; a word that occurs earlier in the passage; another word, or a part of one. Won and lost: items "
        "that contrast answers right and plain decoding does not, and the reverse."
    )
    title = "What is chosen instead"
    return Table("first-choices", title, columns, rows, note if rows else "", groups=("model", "task"))


def _counted(kinds: pd.Series) -> str:
    """``12: 7 stop word, 4 earlier word, 1 right``, the most frequent first."""
    counts = sorted(((int((kinds == kind).sum()), kind) for kind in KINDS), key=lambda each: -each[0])
    named = ", ".join(f"{count} {kind if kind != RIGHT else 'right first token'}" for count, kind in counts if count)
    return f"{len(kinds)}: {named}" if named else "0"


def multiple_choice_table(results: Results) -> Table:
    """Per task and layer: what contrast does to accuracy, and to the margin of the right answer."""
    rows = []
    for answers in answers_of(results, choices=True):
        right, margin, plausible = (answers.values(column) for column in ("right", "margin", "plausible"))
        share = plausible[ORIGINAL]
        many = share > share.median()
        for layer in answers.layers:
            view = f"acd{layer}"
            gain = right[view] - right[ORIGINAL]
            rows.append(
                {
                    "model": answers.model,
                    "task": answers.task,
                    "layer": layer,
                    "n": len(right),
                    "plausible": answers.mean(share, "plausible"),
                    "plain": answers.mean(right[ORIGINAL], "plain"),
                    "exit": answers.mean(right[f"exit{layer}"], f"exit{layer}"),
                    "gain": answers.mean(gain, f"gain {layer}", signed=True),
                    "few": answers.mean(gain[~many], f"few {layer}", signed=True),
                    "many": answers.mean(gain[many], f"many {layer}", signed=True) if many.any() else None,
                    "changed": Number(float((gain != 0).mean()), **answers.where),
                    "margin": answers.mean(margin[view] - margin[ORIGINAL], f"margin {layer}", signed=True),
                }
            )
    columns = [MODEL, TASK, LAYER, N, Column("plausible", "Plausible answer tokens", numeric=True, interval=True)]
    columns += [Column("plain", "No contrast", numeric=True, interval=True)]
    columns += [Column("exit", "Exit alone", numeric=True, interval=True)]
    columns += [Column("gain", "Gain of contrast", numeric=True, interval=True)]
    columns += [Column("few", "where few tokens are plausible", numeric=True, interval=True)]
    columns += [Column("many", "where many are", numeric=True, interval=True)]
    columns += [Column("changed", "Items decided otherwise", numeric=True)]
    columns += [Column("margin", "Change of the margin (nats)", numeric=True, interval=True)]
    note = (
        "Accuracy (0–1) without length normalisation. Contrast moves probability among the plausible tokens alone: "
        "those with at least a tenth of the highest probability. The answers of multiple choice are given, not chosen, "
        "so some of their tokens may not be plausible, and these keep the model's own probability; a plausible one on "
        f"which both layers agree loses probability to those on which they differ. {_plausible(rows)}Few and many: the "
        "items with at most, and with more than, the median share of plausible tokens. Margin: log-probability of the "
        f"right answer less that of the best wrong one. {resampled(results)}."
    )
    title = "What contrast does to multiple choice"
    return Table("multiple-choice", title, columns, rows, note if rows else "", groups=("model", "task"))


def _plausible(rows: list[dict]) -> str:
    """How much of each task's answers is plausible, in a sentence per model."""
    shares: dict[str, list[str]] = {}
    for first, *_ in _by_task(rows):
        shares.setdefault(first["model"], []).append(f"{first['plausible'].main} in {first['task']}")
    sentences = (
        f"Plausible to {model} are, as shares of all answer tokens: {', '.join(each)}. "
        for model, each in shares.items()
    )
    return "".join(sentences)
