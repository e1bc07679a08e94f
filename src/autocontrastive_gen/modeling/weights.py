"""Files of weights: what is wrong with a damaged one, and whether a model got exactly the tensors that it needs."""

from __future__ import annotations

import json
import os
import pickle
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers.utils import cached_file

from autocontrastive_gen.foundation.errors import FileError, InputError, UserError, is_out_of_memory, mendable
from autocontrastive_gen.foundation.files import NOT_JSON
from autocontrastive_gen.modeling import heads

_BUFFERS = re.compile(r"(attn|attention)\.(bias|masked_bias)$|(inv_freq|position_ids)$")
"""Masks and frequencies that older checkpoints store, and newer code computes."""
_SHOWN = 3
_OTHER_JSON = (*NOT_JSON, LookupError, TypeError, AttributeError)
"""What reading JSON raises that is none, or that does not hold what is looked for."""


@contextmanager
def readable(source: str | os.PathLike) -> Iterator[None]:
    """Within it, files of which transformers can't make the model ``source`` end in one message.

    Raises:
        FileError: a file of weights is damaged; names it and what is wrong with it.
        InputError: the files do not describe a model, such as a config.json with a field that is out of range.
    """
    pickled = (EOFError, pickle.UnpicklingError)
    try:
        with mendable(f"{source}", (OSError, SafetensorError)):
            yield
    except Exception as error:  # readers of weights fail in many ways; what is no damaged file is raised again
        for path in _files(source):
            if fault := fault_of(path):
                raise FileError(f"{path}: this file of weights is damaged: {fault}; fetch the model again") from error
        if isinstance(error, pickled):
            raise FileError(
                f"{source}: its pytorch_model.bin is damaged, or holds more than tensors, and such code is not run; "
                "take the model in the form of safetensors"
            ) from error
        if isinstance(error, _UNFIT) and not (isinstance(error, UserError) or _is_of_the_call(error)):
            said = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise InputError(
                f"{source}: its files describe no model that transformers can make ({said}); compare its config.json "
                "with that of the model's source, or fetch the model again"
            ) from error
        raise


_UNFIT = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RuntimeError)
"""What transformers and torch raise for sizes, names and tensors that make no model."""


def _is_of_the_call(error: Exception) -> bool:
    """Whether it is about the memory or an argument of the call, and not about the files."""
    return is_out_of_memory(error) or isinstance(error, TypeError) and "unexpected keyword argument" in str(error)


def _files(source: str | os.PathLike) -> list[Path]:
    """The files of weights in a folder, or in the cache of the hub."""
    folder = Path(source)
    if not folder.is_dir():
        with suppress(Exception):  # it may be in no cache
            folder = Path(cached_file(str(source), "config.json", local_files_only=True)).parent
    suffixes = (".safetensors", ".bin", ".index.json", ".gguf")
    return sorted(path for path in folder.glob("*") if path.name.endswith(suffixes)) if folder.is_dir() else []


def fault_of(path: Path) -> str:
    """What is wrong with a file of weights, judged by its beginning and its size; "" if that looks right."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = file.read(512)
        if not start:
            return "it is empty"
        if start.startswith(b"version https://git-lfs"):
            return "it is a pointer of Git LFS, not the weights themselves; `git lfs pull` brings them"
        if start.lstrip()[:1] == b"<":
            return "it is a web page, such as a server's message in place of the file"
        if path.name.endswith(".index.json"):
            try:
                shards = sorted(set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()))
                missing = [shard for shard in shards if not (path.parent / shard).is_file()]
            except (*_OTHER_JSON, OSError):  # a name may be too long for the system
                return "it is not an index of weights"
            return f"it names {missing[0]}, which is missing" if missing else ""
        if path.suffix == ".bin":
            whole = zipfile.is_zipfile(path) if start.startswith(b"PK") else start.startswith(b"\x80")
            return "" if whole else "it is cut short, or not a file of PyTorch"
        if path.suffix != ".safetensors":
            return ""
        length = int.from_bytes(start[:8], "little")
        if length > size - 8 and start[8:9] != b"{":
            return "it does not begin like safetensors"
        if length > size - 8:
            return f"it is cut short: its header alone has {length} bytes, and the file {size}"
        file.seek(8)
        try:
            header = json.loads(file.read(length))
            end = 8 + length + max(entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__")
        except _OTHER_JSON:
            return "its header is not that of safetensors"
    return f"it is cut short: its header speaks of {end} bytes, and it has {size}" if size < end else ""


def check_tensors(source: str | os.PathLike, info: Mapping[str, Any], ignore_mismatched: bool = False) -> set[str]:
    """Check that the trunk got every tensor that it needs, and that none was left over.

    Exits may be missing, because they are created, or left over, because others are asked for.

    Args:
        source: where the model comes from, for messages.
        info: what transformers' ``from_pretrained`` returns with ``output_loading_info``.
        ignore_mismatched: whether tensors of another shape may keep their new values.

    Returns:
        The names of the tensors that are new.

    Raises:
        FileError: names the tensors.
    """
    shapes = {} if ignore_mismatched else {key: shapes for key, *shapes in info["mismatched_keys"]}
    missing = {key for key in info["missing_keys"] if key not in shapes}
    faults = [f"{key} has shape {tuple(has)}, but must have {tuple(needs)}" for key, (has, needs) in shapes.items()]
    if lacking := _trunk(missing):
        faults.append(f"the model needs {_listed(lacking)}, which no file holds")
    if strange := _trunk(key for key in info["unexpected_keys"] if not _BUFFERS.search(key)):
        faults.append(f"the files hold {_listed(strange)}, for which the model has no place")
    if faults:
        raise FileError(
            f"{source}: the weights do not fit config.json: {'; '.join(faults)}. Fetch both again from one place; if "
            "this is on purpose, load the model yourself and pass it to AutoMultiExitModel.from_model"
        )
    return missing | {key for key, *_ in info["mismatched_keys"]}


def _trunk(keys: Iterable[str]) -> list[str]:
    """Names of tensors that belong to no exit."""
    return sorted(key for key in keys if not key.startswith(tuple(f"{group}." for group in heads.GROUPS)))


def _listed(keys: list[str]) -> str:
    others = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return ", ".join(keys[:_SHOWN]) + others
