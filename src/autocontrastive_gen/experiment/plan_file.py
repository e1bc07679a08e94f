"""Reads the plan that ``fetch`` wrote. Stages that run no model get by without the libraries that making it needs."""

from __future__ import annotations

import json
from typing import Any

from autocontrastive_gen.experiment.paths import Paths
from autocontrastive_gen.foundation.errors import InputError, MissingFileError, mendable
from autocontrastive_gen.foundation.files import NOT_JSON, read_text


def read_plan(profile: str, *keys: str) -> dict[str, Any]:
    """The entry of the plan under ``keys``, such as ``("generate", model, setting)``.

    Raises:
        MissingFileError: there is no plan yet.
        InputError: the plan has no such entry.
    """
    path = Paths(profile).plan
    if not path.exists():
        raise MissingFileError(f"{path}: the plan does not exist yet; run `dvc repro fetch` first")
    remedy = "`dvc repro fetch` writes it again"
    text = read_text(path)
    with mendable(f"{path}: is not readable as JSON; {remedy}", NOT_JSON):
        entry = json.loads(text)
    if not isinstance(entry, dict):
        raise InputError(f"{path}: is not a plan; {remedy}")
    for i, key in enumerate(keys):
        found = entry if isinstance(entry, dict) else {}
        if key not in found:
            raise InputError(f"{'.'.join(keys[: i + 1])}: not in {path}; there are: {', '.join(map(str, found))}")
        entry = found[key]
    return entry
