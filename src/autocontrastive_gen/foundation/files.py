"""Files that are either whole or absent, and the formats the project writes: same content, same bytes."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from autocontrastive_gen.foundation.errors import InputError, mendable

SCRATCH = Path(os.environ.get("DVC_ROOT", "")) / ".scratch"
"""Resume state and downloads: never an output, safe to delete. DVC runs queued experiments in a copy of the project and
names the project itself in DVC_ROOT, so the copies share this folder."""


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """A temporary name beside ``path``, renamed to it when the block succeeds and removed when it fails.

    The name is always the same: what a killed process left is overwritten, and no file has two writers at a time.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Write UTF-8 text with unix line ends."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def rounded(value: Any, digits: int = 6) -> Any:
    """The same JSON-like value with floats rounded to ``digits`` significant digits: the last bit changes no file."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, dict):
        return {key: rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item, digits) for item in value]
    return value


_INFINITIES = {math.inf: "Infinity", -math.inf: "-Infinity"}
"""JSON has no infinity, and a perplexity may be infinite: it is written as a string that Python's ``float``, pandas and
JavaScript's ``Number`` all read as the number."""


def write_json(path: Path | str, value: Any, digits: int = 6) -> None:
    """Write a value with sorted keys, rounded floats, infinities as ``"Infinity"`` and one final newline.

    Raises:
        ValueError: a number is NaN, which is not a result.
    """
    ready = _replaced(rounded(value, digits), _INFINITIES, float)
    write_text(path, json.dumps(ready, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read what ``write_json`` wrote, infinities included."""
    with mendable(f"{path}: is not readable as JSON; delete it and run the stage that writes it again", (ValueError,)):
        return parse_json(Path(path).read_text(encoding="utf-8"))


def parse_json(text: str) -> Any:
    """The value in the text of a file that ``write_json`` wrote."""
    return _replaced(json.loads(text), {form: number for number, form in _INFINITIES.items()}, str)


def _replaced(value: Any, forms: dict, kind: type) -> Any:
    """The same JSON-like value, with leaves of type ``kind`` replaced where ``forms`` has them."""
    if isinstance(value, kind):
        return forms.get(value, value)
    if isinstance(value, dict):
        return {key: _replaced(item, forms, kind) for key, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, forms, kind) for item in value]
    return value


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that occurs twice in a mapping; YAML would silently keep the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for (key_node, _), key in zip(node.value, keys, strict=True):
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} occurs twice", key_node.start_mark
                )
        return super().construct_mapping(node, deep)


def read_yaml(path: Path | str) -> Any:
    """Content of a YAML file.

    Raises:
        InputError: it is not valid YAML, or a key occurs twice; the message names file and line.
    """
    try:
        return yaml.load(Path(path).read_text(encoding="utf-8"), _UniqueKeys)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, TypeError) as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None


def write_jsonl(path: Path | str, rows: Iterable[dict]) -> None:
    """Write one JSON object per line, with sorted keys."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n")


def read_jsonl(path: Path | str) -> list[dict]:
    """Read the rows of a file that ``write_jsonl`` wrote; empty lines are skipped."""
    with open(path, encoding="utf-8") as file:
        with mendable(f"{path}: is not readable as JSON lines", (ValueError,)):
            return [json.loads(line) for line in file if line.strip()]


def write_csv(path: Path | str, columns: list[str], rows: Iterable[dict], digits: int = 6) -> None:
    """Write rows as csv, in the order given; missing and None values are empty."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n", extrasaction="raise")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: "" if value is None else rounded(value, digits) for key, value in row.items()})
