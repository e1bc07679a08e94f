"""Corpora of the Hugging Face hub in parquet files, streamed by ``datasets`` only as far as needed.

What has been read is kept in parts in ``.scratch/streams``, with the position of ``datasets`` after the last part. A
run that was killed at any moment reads the parts from disk and continues at that position: the same documents in the
same order.
"""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from autocontrastive_gen.data.corpora import DAMAGED
from autocontrastive_gen.foundation.digests import fingerprint
from autocontrastive_gen.foundation.errors import FileError, InputError
from autocontrastive_gen.foundation.files import atomic_path, read_json, write_json

log = logging.getLogger(__name__)

ROWS_AT_ONCE = 4096
"""Rows per part: the most that a kill loses, and what is held in memory."""


def rows(record: dict, text_field: str, folder: Path) -> Iterator[str]:
    """Texts of all rows of a streamed hub asset, file after file; ``record`` is its entry in assets.json.

    Args:
        folder: where parts are kept.

    Raises:
        InputError: the files have no column ``text_field``.
        FileError: the hub cannot be reached and more text is needed, the repository has changed, or a part is
            damaged.
    """
    folder = folder / fingerprint([record["source"], record["revision"], record["shards"], text_field])
    state = read_json(folder / "position.json") if (folder / "position.json").exists() else {"parts": 0}
    for number in range(state["parts"]):
        yield from _read(_part(folder, number), folder)
    if state.get("whole"):
        return
    try:
        yield from _further(record, text_field, folder, state)
    except FileNotFoundError as error:
        raise FileError(f"{record['source']}: {error}; the repository has changed, run `dvc repro fetch`") from error
    except OSError as error:
        raise FileError(f"{record['source']}: {error}; run the same command again to continue from here") from error


def _further(record: dict, text_field: str, folder: Path, state: dict) -> Iterator[str]:
    dataset = _dataset(record, text_field)
    if state["parts"]:
        dataset.load_state_dict(state["at"])
        log.info("%s: continuing after %d parts", record["source"], state["parts"])
    flow = iter(dataset)
    for number in range(state["parts"], 1 << 40):
        texts = [row[text_field] or "" for row in islice(flow, ROWS_AT_ONCE)]
        with atomic_path(_part(folder, number)) as temporary, gzip.open(temporary, "wt", 1, encoding="utf-8") as file:
            file.writelines(json.dumps(text, ensure_ascii=False) + "\n" for text in texts)
        whole = len(texts) < ROWS_AT_ONCE
        position = {"parts": number + 1, "at": dataset.state_dict(), "whole": whole}
        write_json(folder / "position.json", position)
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


def _part(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.jsonl.gz"


def _read(path: Path, folder: Path) -> Iterator[str]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            yield from map(json.loads, file)
    except (*DAMAGED, FileNotFoundError, json.JSONDecodeError) as error:
        (folder / "position.json").unlink()
        raise FileError(
            f"{path}: the kept text is damaged ({error}) and now discarded; run the same command again to read it anew"
        ) from error
