"""Benchmark data as their authors publish them, converted to the rows of the hub's data sets.

Each reader takes one file and yields rows; rows already in the hub's form pass unchanged.
"""

from __future__ import annotations

import csv
import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from autocontrastive_gen.data.readable import readable
from autocontrastive_gen.foundation.errors import InputError, shown
from autocontrastive_gen.foundation.files import read_text


def _json_rows(path: Path) -> Iterator[dict]:
    """Rows of a .jsonl file, of one .json list, or the one object of a .json file."""
    text = read_text(path)
    rows = json.loads(text) if path.suffix == ".json" else [json.loads(row) for row in text.splitlines() if row]
    for row in rows if isinstance(rows, list) else [rows]:
        if not isinstance(row, dict):
            raise ValueError(f"an item is {shown(row)}, not a mapping")
        yield row


def lambada(path: Path) -> Iterator[dict]:
    """lambada_test.jsonl (OpenAI's) or lambada_test_plain_text.txt (one passage per line)."""
    if path.suffix == ".txt":
        yield from ({"text": line} for line in read_text(path).split("\n") if line)
    else:
        yield from ({"text": row["text"]} for row in _json_rows(path))


def hellaswag(path: Path) -> Iterator[dict]:
    for row in _json_rows(path):
        fields = {key: row[key] for key in ("ind", "activity_label", "ctx_a", "ctx_b", "ctx", "endings")}
        yield fields | {"label": str(row.get("label", ""))}


def piqa(path: Path) -> Iterator[dict]:
    """valid.jsonl with its valid-labels.lst."""
    rows = list(_json_rows(path))
    labels = [row["label"] for row in rows if "label" in row]
    beside = path.with_name(f"{path.stem}-labels.lst")
    if not labels and beside.exists():
        labels = read_text(beside).split()
    if len(labels) != len(rows):
        raise InputError(f"{path}: {len(rows)} questions, but {len(labels)} labels in {beside.name}")
    for row, label in zip(rows, labels, strict=True):
        yield {key: row[key] for key in ("goal", "sol1", "sol2")} | {"label": int(label)}


def winogrande(path: Path) -> Iterator[dict]:
    for row in _json_rows(path):
        yield {key: row[key] for key in ("sentence", "option1", "option2")} | {"answer": str(row.get("answer", ""))}


def arc(path: Path) -> Iterator[dict]:
    for row in _json_rows(path):
        question, choices = row["question"], row.get("choices")
        if isinstance(question, dict):
            listed = question["choices"]
            choices = {key: [choice[key] for choice in listed] for key in ("text", "label")}
            question = question["stem"]
        yield {"id": row["id"], "question": question, "choices": choices, "answerKey": row["answerKey"]}


def truthfulqa_choices(path: Path) -> Iterator[dict]:
    """mc_task.json, whose {answer: 1 or 0} becomes lists of choices and labels, or BIG-bench's questions.json.

    Of the latter, MC1 sets the best answer against all false ones, and MC2 all true answers against all false ones.
    """
    rows = list(_json_rows(path))
    if rows and "examples" in rows[0]:
        yield from map(_truthfulqa_row, rows[0]["examples"])
        return
    for row in rows:
        targets = {key: row[key] for key in ("mc1_targets", "mc2_targets")}
        for key, value in targets.items():
            if "choices" not in value:
                targets[key] = {"choices": list(value), "labels": list(value.values())}
        yield {"question": row["question"], **targets}


def _truthfulqa_row(example: dict) -> dict:
    best, true, false = (example[key] for key in ("Best answer", "True answers", "False answers"))
    row = {"question": example["Question"]}
    for key, right in (("mc1_targets", [best]), ("mc2_targets", true)):
        row[key] = {"choices": [*right, *false], "labels": [1] * len(right) + [0] * len(false)}
    return row


def truthfulqa_answers(path: Path) -> Iterator[dict]:
    """TruthfulQA.csv, whose answers in a cell are separated by semicolons, or BIG-bench's questions.json."""
    if path.suffix != ".csv":
        for row in _json_rows(path):
            yield from map(_truthfulqa_answers_row, row["examples"]) if "examples" in row else [row]
        return
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            plain = {key.lower().replace(" ", "_"): value.strip() for key, value in row.items()}
            for key in ("correct_answers", "incorrect_answers"):
                plain[key] = [part.strip() for part in plain[key].split(";") if part.strip()]
            yield plain


def _truthfulqa_answers_row(example: dict) -> dict:
    return {
        "question": example["Question"],
        "best_answer": example["Best answer"],
        "correct_answers": example["True answers"],
        "incorrect_answers": example["False answers"],
    }


def factor(path: Path, prefix: str) -> Iterator[dict]:
    """news_factor.csv or wiki_factor.csv (Muhlgay et al. 2023): a text, its true completion and three false ones.

    Args:
        prefix: the column of the text: ``full_prefix``, or ``turncated_prefixes`` (so spelt) for what fits a model.
    """
    import pandas as pd

    for row in pd.read_csv(path, dtype=str, keep_default_na=False).to_dict("records"):
        choices = [row[key] for key in ("completion", "contradiction_0", "contradiction_1", "contradiction_2")]
        yield {"document": row["doc_id"], "prefix": row[prefix], "choices": choices, "label": 0}


def blimp(path: Path) -> Iterator[dict]:
    yield from ({key: row[key] for key in ("sentence_good", "sentence_bad")} for row in _json_rows(path))


def bigbench(path: Path) -> Iterator[dict]:
    """BIG-bench's task.json, with the prompts that its own code writes (``bigbench.api.json_task``, zero-shot).

    As there, examples that repeat an earlier one are dropped and, where a task appends the choices to its input, they
    are shuffled by a generator that starts anew, with seed 42, for each example.
    """
    import numpy as np

    (task,) = _json_rows(path)
    examples = {json.dumps(example): example for example in task["examples"]}
    for number, example in enumerate(examples.values()):
        scores = example.get("target_scores", {})
        text = example["input"]
        if scores and task.get("append_choices_to_input", True):
            shuffled = np.random.RandomState(42).permutation(sorted(scores))
            text = "".join([text, *(task.get("choice_prefix", "\n  choice: ") + choice for choice in shuffled)])
        start = str(task.get("task_prefix", "")) + task.get("example_input_prefix", "\nQ: ")
        targets = example["target"] if "target" in example else max(scores, key=scores.get)
        yield {
            "idx": number,
            "inputs": (start + text + task.get("example_output_prefix", "\nA: ")).strip(),
            "targets": [target.strip() for target in ([targets] if isinstance(targets, str) else targets)],
            "multiple_choice_targets": [choice.strip() for choice in scores],
            "multiple_choice_scores": [int(score) for score in scores.values()],
        }


READERS: dict[tuple[str, str | None], Callable[[Path], Iterator[dict]]] = {
    ("EleutherAI/lambada_openai", None): lambada,
    ("cimec/lambada", None): lambada,
    ("Rowan/hellaswag", None): hellaswag,
    ("baber/piqa", None): piqa,
    ("allenai/winogrande", None): winogrande,
    ("allenai/ai2_arc", None): arc,
    ("truthfulqa/truthful_qa", "multiple_choice"): truthfulqa_choices,
    ("truthfulqa/truthful_qa", "generation"): truthfulqa_answers,
    ("AI21Labs/factor", "news"): functools.partial(factor, prefix="full_prefix"),
    ("AI21Labs/factor", "wiki"): functools.partial(factor, prefix="turncated_prefixes"),
    ("nyu-mll/blimp", None): blimp,
    ("hails/bigbench", None): bigbench,
}
"""By the data set's name on the hub, and its configuration where they differ."""


def rows_of(path: Path, dataset: str, configuration: str | None) -> list[dict]:
    """Rows of one file, for a data set of the hub.

    Raises:
        InputError: no reader knows the data set, or the file is the other LAMBADA: the standard one is lower-case
            throughout, OpenAI's is not.
        FileError: the file is damaged, or a field is missing.
    """
    reader = READERS.get((dataset, configuration)) or READERS.get((dataset, None))
    if reader is None:
        known = ", ".join(sorted({name for name, _ in READERS}))
        raise InputError(f"{path}: there is no reader for files of {dataset}; there are readers for {known}")
    with readable(path, f"in the original format of {dataset}"):
        rows = list(reader(path))
        lower = reader is lambada and all(row["text"] == row["text"].lower() for row in rows)
    if not rows:
        raise InputError(f"{path}: holds no item")
    if reader is lambada:
        if lower != (dataset == "cimec/lambada"):
            raise InputError(
                f"{path}: its text is {'lower-case' if lower else 'cased'}, so it belongs to "
                f"{'lambada_standard' if lower else 'lambada_openai'} and not to this task: their scores differ"
            )
    return rows
