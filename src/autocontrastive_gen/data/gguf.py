"""GGUF files as ordinary model folders."""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from autocontrastive_gen.data.readable import readable

_STRING, _ARRAY = 8, 9
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of the other types of values, which GGUF numbers so."""


def convert(source: Path, folder: Path) -> None:
    """Dequantise the model in a GGUF file and save it, with its tokenizer, as bfloat16 safetensors.

    transformers refuses to save a model that it loaded from GGUF, so the weights move to a fresh model of the same
    configuration. bfloat16 represents 4-bit weights well enough. The same file gives the same bytes.

    Raises:
        FileError: the file is damaged, or holds a model that transformers can't make of a GGUF file.
    """
    with readable(source, "a model that transformers can make of a GGUF file"):
        with open(source, "rb") as file:
            _check_lengths(file)
        with _read_once():
            _convert(source, folder)


@contextmanager
def _read_once() -> Iterator[None]:
    """Within it, transformers, which reads the header of a GGUF file three times, gets what the first reading found.

    That is read from a plain array: each of its 400,000 slices of a memmap would be a memmap, at twice the time.
    """
    import gguf
    import numpy as np

    class PlainReader(gguf.GGUFReader):
        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, np.asarray(value) if name == "data" else value)

    before, gguf.GGUFReader = gguf.GGUFReader, functools.cache(PlainReader)  # type: ignore[assignment,misc]
    try:
        yield
    finally:
        gguf.GGUFReader = before  # type: ignore[misc]


def _check_lengths(file: BinaryIO) -> None:
    """Check that every value of a GGUF header ends within the file.

    The reader of the gguf package does not: where the length of a list is damaged, it goes on past the end of the file
    until the memory is full.

    Raises:
        EOFError, LookupError, struct.error: a value does not, or has no type.
    """
    size = os.fstat(file.fileno()).st_size
    version = file.read(8)[4:]
    order = "<" if version[:2] != b"\0\0" else ">"

    def number(form: str) -> int:
        return struct.unpack(order + form, file.read(struct.calcsize(form)))[0]

    def skip(length: int) -> None:
        if length > size - file.tell():
            raise EOFError("a value is longer than the file")
        file.seek(length, os.SEEK_CUR)

    def skip_value(kind: int) -> None:
        if kind == _STRING:
            skip(number("Q"))
        elif kind == _ARRAY:
            item, count = number("I"), number("Q")
            if item in _SIZES:
                skip(_SIZES[item] * count)
            else:
                for _ in range(count):
                    skip_value(item)
        else:
            skip(_SIZES[kind])

    number("Q")  # of tensors
    for _ in range(number("Q")):
        skip_value(_STRING)
        skip_value(number("I"))


def _convert(source: Path, folder: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    where = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
    loaded = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32, trust_remote_code=False)
    settings = loaded.config.to_dict()
    settings.pop("quantization_config", None)
    config = AutoConfig.for_model(**settings)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    state = {key: value.to(torch.bfloat16) for key, value in loaded.state_dict().items()}
    model.load_state_dict(state, assign=True)
    model.tie_weights()
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**where, trust_remote_code=False).save_pretrained(folder)
