"""Benchmark tasks made from held-out text: the last word of a passage, and its true continuation among four.

Their rules are those of LAMBADA (Paperno et al. 2016) and HellaSwag (Zellers et al. 2019) in small, so that a benchmark
runs on any text without a network.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from autocontrastive_gen.data.prompts import identity
from autocontrastive_gen.data.selection import Document
from autocontrastive_gen.foundation.digests import seed_for
from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.foundation.files import write_jsonl, write_text

LAST_WORD_CONTEXT, CONTINUATION_CONTEXT = 50, 30
"""Words of whole sentences before the last sentence of a passage, at least; at most twice as many."""
CHOICE_WORDS = (8, 30)
CHOICES = 4
CANDIDATES = 48
"""Sentences of which those nearest in length to the true continuation become the wrong choices."""
WORDS_AN_ITEM = 60
"""A document gives an item of a task for so many of its words."""
MOST_ITEMS = 6
"""Items of one task that one document may give."""


def sentences(text: str) -> list[str]:
    """Sentences of a text; they end with a full stop or the like, or with their paragraph."""
    split = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(]?[A-Z0-9])")
    return [sentence.strip() for line in text.split("\n") for sentence in split.split(line) if sentence.strip()]


def passages(document: Document, context_words: int) -> Iterator[tuple[str, str]]:
    """(what comes before, last sentence) for each sentence that enough words of the document precede."""
    parts = sentences(document.text)
    lengths = [len(part.split()) for part in parts]
    for end in range(1, len(parts)):
        start, words = end, 0
        while start and words < context_words:
            start -= 1
            words += lengths[start]
        if context_words <= words <= 2 * context_words:
            yield " ".join(parts[start:end]), parts[end]


def last_word_items(domain: str, documents: list[Document], seed: int) -> list[list[dict]]:
    """Items of each document: ``{"id", "domain", "context", "target"}``.

    The target is a word of letters that stands in the context already, as most of LAMBADA's do, and no common one.
    """
    common = _common_words(documents)
    found = []
    for document in documents:
        pairs = []
        for before, last in passages(document, LAST_WORD_CONTEXT):
            *context, target = f"{before} {last}".split()
            target = target.rstrip(".!?\"')]")
            if len(target) > 2 and target.isalpha() and target.lower() in _words(context) - common:
                pairs.append((" ".join(context), target))
        drawn = _drawn(pairs, document, seed)
        found.append([_item(domain, document, i, context=pairs[i][0], target=pairs[i][1]) for i in drawn])
    return found


def continuation_items(domain: str, documents: list[Document], seed: int) -> list[list[dict]]:
    """Items of each document: ``{"id", "domain", "context", "choices", "label"}``.

    The wrong choices are last sentences of other documents' passages, near in length to the true one.
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


def _words(words: Iterable[str]) -> set[str]:
    return {word.strip(".,;:!?\"'()[]").lower() for word in words}


def _common_words(documents: list[Document]) -> set[str]:
    """Words of more than a fifth of the documents (but of more than two): "said", "them" and the like."""
    counts = Counter(word for document in documents for word in _words(document.text.split()))
    return {word for word, count in counts.items() if count > max(2, len(documents) / 5)}


def _drawn(pairs: list, document: Document, seed: int) -> list[int]:
    """Which of a document's possible items are taken: as many as its length allows, drawn by the seed."""
    most = min(MOST_ITEMS, max(1, len(document.text.split()) // WORDS_AN_ITEM), len(pairs))
    return sorted(random.Random(seed_for(seed, document.digest)).sample(range(len(pairs)), most))


def _item(domain: str, document: Document, number: int, **fields) -> dict:
    return {"id": f"{identity(domain, document)}-{number}", "domain": domain, **fields}


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


def take(items: dict[str, list[list[dict]]], count: int, task: str) -> list[dict]:
    """``count`` items, {domain: items of each document} -> one list, evenly from domains and documents.

    ValueError if there are fewer.
    """
    queues = {domain: [item for turn in _turns(documents) for item in turn] for domain, documents in items.items()}
    mixed = [item for turn in _turns(list(queues.values())) for item in turn]
    if len(mixed) < count:
        raise InputError(
            f"prepare.benchmark_items.{task}: {count} items were asked for, but the held-out text gives {len(mixed)}; "
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
