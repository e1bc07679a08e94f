"""Corpora of the Hugging Face hub in parquet files, streamed by ``datasets`` only as far as needed.

What has been read is kept in parts in ``.scratch/streams``, each with the position of ``datasets`` after it. A run that
was killed at any moment reads the parts from disk and continues at the position of the last one: the same documents in
the same order.
"""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

from autocontrastive_gen.data.corpora import text_in
from autocontrastive_gen.foundation.digests import fingerprint
from autocontrastive_gen.foundation.errors import FileError, InputError
from autocontrastive_gen.foundation.resume import Kept

log = logging.getLogger(__name__)

ROWS_AT_ONCE = 4096
"""Rows per part: the most that a kill loses, and what is held in memory."""


def rows(record: dict, text_field: str, folder: Path) -> Iterator[str]:
    """Texts of all rows of a streamed hub asset, file after file; ``record`` is its entry in assets.json.

    Args:
        folder: where parts are kept.

    Raises:
        InputError: the files have no column ``text_field``, or it holds no text.
        FileError: the hub cannot be reached and more text is needed, or the repository has changed.
    """
    kept = Kept(folder / fingerprint([record["source"], record["revision"], record["shards"], text_field]))
    number, position = 0, {"at": None, "whole": False}
    while path := kept.find(_part(number)):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            position = json.loads(next(file))
            yield from map(json.loads, file)
        number += 1
    if position["whole"]:
        return
    try:
        yield from _further(record, text_field, kept, number, position["at"])
    except FileNotFoundError as error:
        raise FileError(f"{record['source']}: {error}; the repository has changed, run `dvc repro fetch`") from error
    except OSError as error:
        raise FileError(f"{record['source']}: {error}; run the same command again to continue from here") from error


def _further(record: dict, text_field: str, kept: Kept, done: int, at: dict | None) -> Iterator[str]:
    """Rows after the first ``done`` parts; ``at`` is the position of ``datasets`` there."""
    dataset = _dataset(record, text_field)
    if done:
        dataset.load_state_dict(at)
        log.info("%s: continuing after %d parts", record["source"], done)
    flow = iter(dataset)
    for number in count(done):
        texts = [text_in(row, text_field, record["source"]) for row in islice(flow, ROWS_AT_ONCE)]
        whole = len(texts) < ROWS_AT_ONCE
        with kept.write(_part(number)) as temporary, gzip.open(temporary, "wt", 1, encoding="utf-8") as file:
            for line in ({"at": dataset.state_dict(), "whole": whole}, *texts):
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        yield from texts
        if whole:
            return


def _dataset(record: dict, text_field: str):
    """``datasets.IterableDataset`` over the column ``text_field`` of all files, in the order of their names."""
    from datasets import load_dataset

    root = f"hf://datasets/{record['repo']}@{record['revision']}"
    files = [f"{root}/{name}" for name in sorted(record["shards"])]
    dataset = load_dataset("parquet", data_files=files, split="train", streaming=True)
    if dataset.features is not None and text_field not in dataset.features:
        columns = ", ".join(dataset.features)
        raise InputError(
            f"{record['source']}: has no column {text_field!r}; there are: {columns}; set text_field of the domain"
        )
    return dataset.select_columns([text_field])


def _part(number: int) -> str:
    return f"{number:06d}.jsonl.gz"
