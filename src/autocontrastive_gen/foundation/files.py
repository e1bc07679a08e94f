"""Files that are either whole or absent, and the formats the project writes: same content, same bytes."""

from __future__ import annotations

import codecs
import csv
import json
import math
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

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
        with suppress(OSError):  # an empty folder in its place, which `profile use` makes for DVC, gives way
            path.rmdir()
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


def read_text(path: Path | str) -> str:
    """Text of a UTF-8 file with unix line ends, without the byte order mark that some editors write.

    Raises:
        InputError: it is in another encoding, or no text; the message says what it looks like.
    """
    content = Path(path).read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        kind = "UTF-16" if utf16 else "a binary file" if b"\0" in content else "another encoding, such as Latin-1"
        raise InputError(f"{path}: is not UTF-8 text but {kind} (byte {error.start}); save it as UTF-8") from None
    if "\0" in text:
        raise InputError(f"{path}: holds characters 0: it is a binary file, or UTF-16 text; save it as UTF-8")
    return text.replace("\r\n", "\n")


def read_json(path: Path | str) -> Any:
    """Read what ``write_json`` wrote, infinities included.

    Raises:
        InputError: it is not JSON.
    """
    text = read_text(path)
    with mendable(f"{path}: is not readable as JSON; delete it and run the stage that writes it again", NOT_JSON):
        return parse_json(text)


def parse_json(text: str) -> Any:
    """The value in the text of a file that ``write_json`` wrote."""
    return _replaced(json.loads(text), {form: number for number, form in _INFINITIES.items()}, str)


NOT_JSON = (ValueError, RecursionError)
"""What ``json`` raises for text that is not JSON, is nested too deeply, or holds a number of thousands of digits."""


def _replaced(value: Any, forms: dict, kind: type) -> Any:
    """The same JSON-like value, with leaves of type ``kind`` replaced where ``forms`` has them."""
    if isinstance(value, kind):
        return forms.get(value, value)
    if isinstance(value, dict):
        return {key: _replaced(item, forms, kind) for key, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, forms, kind) for item in value]
    return value


class _Strict(yaml.SafeLoader):
    """Refuses what YAML would silently read in another way than people mean: a key that occurs twice, of which the last
    one counts, and a number in octal or with a colon."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (TypeError, ValueError) as error:  # a key that is a list, a date or number that Python cannot read
            raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from None

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if re.fullmatch(r"[-+]?0[0-9_]+|.*:.*", node.value):  # YAML 1.1 takes 010 for 8 and 1:30 for 90, DVC does not
            raise ValueError(f"{node.value} is not a decimal number; write it without a zero or colon")
        number = super().construct_yaml_int(node)
        if abs(number) >= 1 << 64:
            raise ValueError("a whole number of more than 64 bits")
        return number

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} occurs twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


_Strict.add_constructor("tag:yaml.org,2002:int", _Strict.construct_yaml_int)
_FAST = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MOST_VALUES = 1_000_000


def read_yaml(path: Path | str) -> Any:
    """Content of a YAML file that people write; see ``parse_yaml``.

    Raises:
        InputError: as ``parse_yaml``, or it is not UTF-8 text.
    """
    return parse_yaml(read_text(path), str(path))


def parse_yaml(text: str, name: str, fast: bool = False, remedy: str = "") -> Any:
    """The value that a YAML text stands for.

    Args:
        name: what messages call the text.
        fast: for files that programs write: a key that occurs twice is not noticed.
        remedy: what to do about a file that is not valid.

    Raises:
        InputError: it is not valid YAML, a key occurs twice, or its aliases unfold to more than a million values.
    """
    rest = f"; {remedy}" if remedy else ""
    try:
        value = yaml.load(text, _FAST if fast else _Strict)
    except RecursionError:
        raise InputError(f"{name}: not valid YAML: it is nested too deeply{rest}") from None
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise InputError(f"{name}: not valid YAML: {' '.join(str(error).split())}{rest}") from None
    if _unfolded(value, {}) > _MOST_VALUES:
        raise InputError(
            f"{name}: not valid YAML: its aliases (*) stand for more than a million values; write them out"
        )
    return value


def _unfolded(value: Any, sizes: dict[int, float]) -> float:
    """Number of values, counting those behind an alias wherever it stands; infinite for a value that holds itself."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in sizes:
        sizes[id(value)] = math.inf
        sizes[id(value)] = 1 + sum(_unfolded(v, sizes) for v in (value.values() if isinstance(value, dict) else value))
    return sizes[id(value)]


def write_jsonl(path: Path | str, rows: Iterable[dict]) -> None:
    """Write one JSON object per line, with sorted keys."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n")


def read_jsonl(path: Path | str) -> list[dict]:
    """Read the rows of a file that ``write_jsonl`` wrote; empty lines are skipped."""
    with open(path, encoding="utf-8-sig") as file:
        with mendable(f"{path}: is not readable as JSON lines", NOT_JSON):
            return [json.loads(line) for line in file if line.strip()]


class UnixRows:
    """What a writer of csv writes to, so that rows end with a line feed and texts with a carriage return are quoted.

    A writer quotes texts that hold a character of its own line end, which must be that of Windows therefore.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, row: str) -> int:
        return self._file.write(row.removesuffix("\r\n") + "\n")


def write_csv(path: Path | str, columns: list[str], rows: Iterable[dict], digits: int = 6) -> None:
    """Write rows as csv, in the order given; missing and None values are empty."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(UnixRows(file), columns, lineterminator="\r\n", extrasaction="raise")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: "" if value is None else rounded(value, digits) for key, value in row.items()})
