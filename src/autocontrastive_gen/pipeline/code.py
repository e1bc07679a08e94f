"""The code behind the results of a stage, as dvc.yaml lists it: there is no second list."""

from __future__ import annotations

import functools
from pathlib import Path

import yaml

from autocontrastive_gen.foundation.digests import file_sha256, fingerprint

ROOT = Path(__file__).parents[3]
"""The project's root: stages run from a checkout."""


@functools.cache
def code_digest(stage: str) -> str:
    """Digest of the code that ``stage`` depends on in dvc.yaml: resume state that other code wrote is not used."""
    deps = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"][stage]["deps"]
    paths = [ROOT / dep for dep in deps if dep.startswith(("src/", "stages/"))]
    files = sorted(file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path]))
    return fingerprint([(file.relative_to(ROOT).as_posix(), file_sha256(file)) for file in files])
