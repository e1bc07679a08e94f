"""Digests of content, and seeds derived from what they are for."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def seed_for(*parts: object) -> int:
    """A seed in [0, 2**63) that depends only on ``parts`` (such as the run's seed, a prompt's id and a step)."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def fingerprint(value: Any) -> str:
    """sha256 of a JSON-like value; the order of its keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def file_sha256(path: Path | str) -> str:
    """sha256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
