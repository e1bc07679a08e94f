"""From corpora to training text, prompts, held-out documents and benchmark items, no two of which share a document.

Each corpus is read one document at a time, so memory does not grow with it. What is held out is decided first, by
digests; training gets the rest, up to its budget, which counts words (a word is at least one token).
"""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

from autocontrastive_gen.data import bundles, corpora, local_tasks, rules
from autocontrastive_gen.data.prompts import from_paragraphs, identity, prompt_rows, validation_row
from autocontrastive_gen.data.selection import Document, Seen, hold_out, interleaved, shuffled
from autocontrastive_gen.experiment.asset_schema import AssetTerms
from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation.digests import seed_for
from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.foundation.files import SCRATCH, atomic_path, write_json, write_jsonl
from autocontrastive_gen.foundation.progress import ProgressBar

log = logging.getLogger(__name__)

SHARD_DOCUMENTS = 100_000
ITEMS = ("benchmark_items", "benchmark_validation_items")
"""Keys of the numbers of benchmark items; those of the second come from other documents than those of the first."""
POOL = 4
"""Documents examined per benchmark item wanted, since not every document yields an item."""


class Preparation:
    """One run of ``prepare``: ``plan`` is its entry of the plan, ``records`` the content of assets.json."""

    def __init__(self, plan: dict, paths: Paths, records: dict[str, dict]) -> None:
        self.plan, self.paths, self.records = plan, paths, records
        reported = {task: plan["benchmark_items"][task] for task in plan["tasks"] if task in local_tasks.TASKS}
        self.items = dict(zip(ITEMS, (reported, plan["benchmark_validation_items"]), strict=True))
        """{key of the parameters: {task: number of items}}, the reported items first."""
        tasks = dict.fromkeys(chain(*self.items.values()))
        self.task_sources = {task: plan["benchmark_sources"].get(task, plan["domains"]) for task in tasks}
        self.read_whole = list(dict.fromkeys(chain(plan["domains"], *self.task_sources.values())))
        """Sources of prompts or benchmark items, in the order of reading."""
        self.counts: dict[str, Counter] = {name: Counter() for name in plan["sources"]}
        self._seen = Seen()
        self._held: set[str] = set()

    def run(self) -> dict:
        """Write everything and return the data card."""
        items: dict[str, dict[str, dict[str, list]]] = {key: {task: {} for task in self.items[key]} for key in ITEMS}
        validation = []
        for domain in self.read_whole:
            held = self._hold_out(domain)
            if domain in self.plan["domains"]:
                validation += self._write_prompts(domain, held)
            for key in ITEMS:
                for task, found in self._benchmark_items(domain, held, key).items():
                    items[key][task][domain] = found
        write_jsonl(self.paths.validation_text, validation)
        self._write_tasks(items)
        bundled = bundles.install(self.paths.task_data, self.paths.tasks) if self.paths.task_data.exists() else {}
        self._write_training()
        card = {
            "tasks": bundled,
            "sources": {name: self._card(name) for name in sorted(self.plan["sources"])},
            "seed": self.plan["seed"],
        }
        write_json(self.paths.data_card, card)
        return card

    # Reading --------------------------------------------------------------------------------------------------------

    def _record(self, source: str) -> dict:
        asset = self.plan["sources"][source]["asset"]
        if asset not in self.records:
            raise InputError(f"{self.paths.assets}: does not have the asset {asset!r}; run `dvc repro fetch` first")
        return self.records[asset]

    def _documents(self, source: str) -> Iterator[Document]:
        """Cleaned documents of a source without duplicates; ``Document.words`` counts as the source's rules say."""
        domain, counts = self.plan["sources"][source], self.counts[source]
        for text in self._texts(source):
            counts["read"] += 1
            text, words = rules.clean(text, domain["rules"])
            if not text:
                counts["empty"] += 1
                continue
            document = Document.of(text, words)
            if self._seen.add(document.digest):
                counts["duplicates"] += 1
            else:
                yield document

    def _texts(self, source: str) -> Iterator[str]:
        domain, record = self.plan["sources"][source], self._record(source)
        if record.get("stream"):
            from autocontrastive_gen.data.streams import documents

            return documents(record, domain["format"], domain["text_field"])
        folder = self.paths.asset(domain["asset"])
        return corpora.read(folder, domain["format"], domain["files"], domain["text_field"], domain["where"])

    # Holding out ----------------------------------------------------------------------------------------------------

    def _hold_out(self, domain: str) -> list[Document]:
        """Documents for prompts, validation and benchmarks; all are spooled to disk if training reads the domain."""
        documents = ProgressBar(self._documents(domain), domain, unit=" documents")
        if domain in self.plan["training"]["sources"]:
            documents = _spooled(documents, self._spool(domain))
        items = sum(quota for key in ITEMS for quota in self._quotas(domain, key).values())
        wanted = sum(self._wanted(domain).values()) + POOL * items
        return hold_out(self._long_enough(domain, documents), wanted, seed_for(self.plan["seed"], "hold out"))

    def _long_enough(self, domain: str, documents: Iterable[Document]) -> Iterator[Document]:
        for document in documents:
            if document.words >= self.plan["min_words"]:
                yield document
            else:
                self.counts[domain]["short"] += 1

    def _wanted(self, domain: str) -> dict[str, int]:
        """How many prompts and held-out documents a domain gives; at most as many documents are needed."""
        if domain not in self.plan["domains"]:
            return {}
        wanted = {key: self.plan[key] for key in ("prompts", "validation_prompts", "validation_documents")}
        return wanted | {"prompts": self.plan["sources"][domain]["prompts"] or wanted["prompts"]}

    def _quotas(self, domain: str, key: str) -> dict[str, int]:
        """{task: the domain's share of its items}."""
        of_task = ((task, count, self.task_sources[task]) for task, count in self.items[key].items())
        return {task: math.ceil(count / len(sources)) for task, count, sources in of_task if domain in sources}

    def _spool(self, source: str) -> Path:
        return SCRATCH / "prepare" / self.paths.profile / f"{source}.jsonl"

    # Writing --------------------------------------------------------------------------------------------------------

    def _write_prompts(self, domain: str, held: list[Document]) -> list[dict]:
        """Write both splits of a domain's prompts and return its rows of held-out text."""
        rows: dict[str, list[dict]] = {}
        documents = iter(held)
        for key, count in self._wanted(domain).items():
            rows[key] = []
            while len(rows[key]) < count and (document := next(documents, None)):
                self._held.add(document.digest)
                made = self._prompt_rows if key.endswith("prompts") else _validation_rows
                rows[key] += made(domain, document)[: count - len(rows[key])]
                if key.endswith("prompts"):
                    self.counts[domain][f"{key.removesuffix('s')}_documents"] += 1
            self.counts[domain][key] = len(rows[key])
        self._require(domain, rows, len(held))
        write_jsonl(self.paths.prompts(domain, "test"), rows["prompts"])
        write_jsonl(self.paths.prompts(domain, "validation"), rows["validation_prompts"])
        return rows["validation_documents"]

    def _require(self, domain: str, rows: dict[str, list[dict]], documents: int) -> None:
        """Raise InputError unless the domain gives what is wanted of it."""
        wanted = self._wanted(domain)
        if any(len(rows[key]) < count for key, count in wanted.items()):
            needs = ", ".join(f"{key} = {count}" for key, count in wanted.items())
            each = self.plan["sources"][domain]["prompts_per_document"]
            raise InputError(
                f"domains.{domain}: {documents} documents have at least prepare.min_words = {self.plan['min_words']} "
                f"words and give at most prompts_per_document = {each} prompts each, too few for {needs}; lower these, "
                "or give more text"
            )

    def _prompt_rows(self, domain: str, document: Document) -> list[dict[str, str]]:
        source, texts = self.plan["sources"][domain], [document.text]
        if source["prompt_at"] == "paragraph":
            most = source["prompts_per_document"]
            texts = from_paragraphs(document, self.plan["min_words"], self.plan["seed"], most)
        return prompt_rows(domain, document, texts, self.plan["prompt_words"])

    def _benchmark_items(self, domain: str, held: list[Document], key: str) -> dict[str, list[list[dict]]]:
        """Items of each task, by document, from the fewest free documents that give the domain's share of items."""
        quotas, number = self._quotas(domain, key), 8
        if not quotas:
            return {}
        pool = [document for document in held if document.digest not in self._held]
        while True:
            documents = pool[:number]
            items = {task: local_tasks.TASKS[task].make(domain, documents, self.plan["seed"]) for task in quotas}
            enough = all(sum(map(len, found)) >= quotas[task] for task, found in items.items())
            if enough or number >= len(pool):
                break
            number = math.ceil(number * 1.25)
        self.counts[domain][f"{key.removesuffix('_items')}_documents"] = len(documents)
        self._held.update(document.digest for document in documents)
        return items

    def _write_tasks(self, items: dict[str, dict[str, dict[str, list]]]) -> None:
        """Write the tasks with their reported items, and with their validation items."""
        self.paths.tasks.mkdir(parents=True, exist_ok=True)
        for key, folder in zip(ITEMS, (self.paths.tasks, self.paths.validation_tasks), strict=True):
            for task, count in self.items[key].items():
                rows = local_tasks.take(items[key][task], count, f"prepare.{key}.{task}")
                local_tasks.write_task(folder, task, rows)
        # DVC keeps no empty folder, and select depends on this one
        write_json(self.paths.validation_tasks / "items.json", self.items[ITEMS[1]])

    def _write_training(self) -> None:
        training = self.plan["training"]
        sources = {name: self._training_documents(name) for name in training["sources"]}
        taken = interleaved(sources, training["tokens"])
        bar = ProgressBar(total=training["tokens"], desc="training text", unit=" words")
        for shard, rows in enumerate(_batches(self._training_rows(taken, bar), SHARD_DOCUMENTS)):
            write_jsonl(self.paths.training_text / f"text-{shard:05d}.jsonl", rows)
        bar.close()
        if not any(self.counts[name]["training_documents"] for name in sources):
            raise InputError(
                f"prepare.training.sources: {', '.join(sources)} leave no document for training; lower "
                "prepare.prompts, prepare.validation_documents or prepare.benchmark_items, or give more text"
            )
        for name in sources:
            self._spool(name).unlink(missing_ok=True)

    def _training_documents(self, source: str) -> Iterator[Document]:
        training = self.plan["training"]
        spooled = source in self.read_whole
        documents = _read_spool(self._spool(source)) if spooled else self._documents(source)
        free = (document for document in documents if document.digest not in self._held)
        seed = seed_for(self.plan["seed"], "shuffle", source)
        return islice(shuffled(free, training["shuffle_buffer"], seed), training["documents"])

    def _training_rows(self, taken: Iterable[tuple[str, Document]], bar: ProgressBar) -> Iterator[dict]:
        for source, document in taken:
            words = len(document.text.split())
            self.counts[source].update(training_documents=1, training_words=words)
            bar.update(words)
            yield {"id": identity(source, document), "source": source, "text": document.text}

    def _card(self, source: str) -> dict:
        record, domain = self._record(source), self.plan["sources"][source]
        about = {key: record[key] for key in ("kind", "source", "revision", "sha256", *AssetTerms.model_fields)}
        return (
            about | {key: domain[key] for key in ("title", "format", "rules")} | {"counts": dict(self.counts[source])}
        )


def _validation_rows(domain: str, document: Document) -> list[dict[str, str]]:
    return [validation_row(domain, document)]


def _spooled(documents: Iterable[Document], path: Path) -> Iterator[Document]:
    """Pass documents on, and keep them all in a file for a second reading."""
    with atomic_path(path) as temporary:
        with open(temporary, "w", encoding="utf-8", newline="\n") as file:
            for document in documents:
                file.write(json.dumps([document.text, document.words, document.digest], ensure_ascii=False) + "\n")
                yield document


def _read_spool(path: Path) -> Iterator[Document]:
    with open(path, encoding="utf-8") as file:
        for line in file:
            yield Document(*json.loads(line))


def _batches(rows: Iterable[dict], size: int) -> Iterator[Iterator[dict]]:
    """Consecutive runs of ``size`` rows; each must be read before the next is asked for."""
    rows = iter(rows)
    for first in rows:
        yield _with_first(first, islice(rows, size - 1))


def _with_first(first: dict, rows: Iterable[dict]) -> Iterator[dict]:
    yield first
    yield from rows
