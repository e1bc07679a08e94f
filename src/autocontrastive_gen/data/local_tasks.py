"""Benchmark tasks made from held-out text: the last word of a passage, and its true continuation among four.

They follow LAMBADA (Paperno et al. 2016) and HellaSwag (Zellers et al. 2019), and make a benchmark of any text, without
a network.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from autocontrastive_gen.data import last_words
from autocontrastive_gen.data.passages import passages
from autocontrastive_gen.data.prompts import identity
from autocontrastive_gen.data.selection import Document
from autocontrastive_gen.foundation.digests import seed_for
from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.foundation.files import write_jsonl, write_text

CONTINUATION_CONTEXT = 30
"""Words before a continuation, in whole sentences: at least as many, at most twice as many."""
CHOICE_WORDS = (8, 30)
CHOICES = 4
CANDIDATES = 48
"""Random sentences; those closest in length to the true continuation become the wrong choices."""
WORDS_PER_ITEM = 60
"""A document yields at most one item of a task per this many words."""
MOST_ITEMS = 6
"""Items of one task from one document, at most."""


def last_word_items(domain: str, documents: list[Document], seed: int) -> list[list[dict]]:
    """Items of each document, chosen as ``last_words`` says: ``{"id", "document", "domain", "context", "target"}``."""
    return [
        [
            _item(domain, document, number, context=context, target=target)
            for number, (context, target) in enumerate(pairs[: _most_items(document)])
        ]
        for document, pairs in zip(documents, last_words.pairs_of(documents, seed), strict=True)
    ]


def continuation_items(domain: str, documents: list[Document], seed: int) -> list[list[dict]]:
    """Items of each document: ``{"id", "document", "domain", "context", "choices", "label"}``.

    The wrong choices are last sentences of other documents' passages, similar in length to the true one.
    """
    shortest, longest = CHOICE_WORDS
    fitting = [
        [pair for pair in passages(document, CONTINUATION_CONTEXT) if shortest <= len(pair[1].split()) <= longest]
        for document in documents
    ]
    every = [(document, last) for document, pairs in zip(documents, fitting, strict=True) for _, last in pairs]
    found = []
    for document, pairs in zip(documents, fitting, strict=True):
        items = []
        for i in _drawn(pairs, document, seed):
            context, true = pairs[i]
            rng = random.Random(seed_for(seed, document.digest, i))
            others = [last for other, last in rng.sample(every, min(CANDIDATES, len(every))) if other is not document]
            others.sort(key=lambda last: abs(len(last.split()) - len(true.split())))
            choices = list(dict.fromkeys([true, *others]))[:CHOICES]
            if len(choices) == CHOICES:
                rng.shuffle(choices)
                label = choices.index(true)
                items.append(_item(domain, document, i, context=context, choices=choices, label=label))
        found.append(items)
    return found


def _drawn(pairs: list, document: Document, seed: int) -> list[int]:
    """Indices of the items taken from a document: as many as its length allows, drawn by the seed."""
    most = min(_most_items(document), len(pairs))
    return sorted(random.Random(seed_for(seed, document.digest)).sample(range(len(pairs)), most))


def _most_items(document: Document) -> int:
    return min(MOST_ITEMS, max(1, len(document.text.split()) // WORDS_PER_ITEM))


def _item(domain: str, document: Document, number: int, **fields) -> dict:
    name = identity(domain, document)
    return {"id": f"{name}-{number}", "document": name, "domain": domain, **fields}


@dataclass(frozen=True)
class LocalTask:
    """A task that ``prepare`` makes from held-out text: how, and how lm-eval scores it."""

    make: Callable[[str, list[Document], int], list[list[dict]]]
    """(domain, its documents, seed) -> items of each document."""
    scoring: dict[str, Any]
    """Fields of lm-eval's task configuration."""


def _mean(metric: str) -> dict[str, Any]:
    return {"metric": metric, "aggregation": "mean", "higher_is_better": True}


TASKS = {
    "last-word": LocalTask(
        last_word_items,
        {
            "output_type": "loglikelihood",
            "doc_to_text": "{{context}}",
            "doc_to_target": "{{' ' + target}}",
            "metric_list": [
                {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False},
                _mean("acc"),
            ],
        },
    ),
    "continuation": LocalTask(
        continuation_items,
        {
            "output_type": "multiple_choice",
            "doc_to_text": "{{context}}",
            "doc_to_choice": "choices",
            "doc_to_target": "label",
            "metric_list": [_mean("acc"), _mean("acc_norm")],
        },
    ),
}
"""The local tasks by name: the only place that lists them."""


def take(items: dict[str, list[list[dict]]], count: int, key: str) -> list[dict]:
    """``count`` items, taken evenly from domains and documents.

    Args:
        items: {domain: items of each document}.
        key: where the number stands in the parameters, for the message.

    Raises:
        InputError: there are fewer items.
    """
    queues = {domain: [item for turn in _turns(documents) for item in turn] for domain, documents in items.items()}
    mixed = [item for turn in _turns(list(queues.values())) for item in turn]
    if len(mixed) < count:
        raise InputError(
            f"{key}: {count} items were asked for, but the held-out text gives {len(mixed)}; "
            "ask for fewer, or give more text"
        )
    return sorted(mixed[:count], key=lambda item: item["id"])


def _turns(lists: list[list]) -> Iterator[list]:
    """The first of each list, then the second of each, and so on."""
    for i in range(max(map(len, lists), default=0)):
        yield [items[i] for items in lists if i < len(items)]


def write_task(folder: Path, task: str, rows: list[dict]) -> None:
    """Write ``<task>.jsonl`` and the ``<task>.yaml`` for lm-eval; ``folder`` is relative to the project's root."""
    data = folder / f"{task}.jsonl"
    write_jsonl(data, rows)
    config = {
        "task": task,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": data.as_posix()}},
        "test_split": "test",
        **TASKS[task].scoring,
        "metadata": {"version": 1.0},
    }
    write_text(folder / f"{task}.yaml", yaml.safe_dump(config, sort_keys=False, width=120))
