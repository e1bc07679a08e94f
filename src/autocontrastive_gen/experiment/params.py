"""Reads parameter files: ``params.yaml`` and the profiles, which state what differs from the defaults.

All faults of a file are reported together. ``conf/base.yaml`` holds the catalogues that all files share; a file adds
entries to them or replaces entries.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from autocontrastive_gen.experiment import faults
from autocontrastive_gen.experiment.schema import Params
from autocontrastive_gen.foundation.errors import InputError, did_you_mean
from autocontrastive_gen.foundation.files import read_yaml

PARAMS = Path("params.yaml")
BASE = Path("conf/base.yaml")
PROFILES = Path("conf/profiles")

__all__ = ["BASE", "PARAMS", "PROFILES", "Params", "ParamsError", "check", "load_params", "load_profile", "profiles"]


class ParamsError(InputError):
    """All faults of a parameter file, one per line."""


def load_params(path: Path | str = PARAMS) -> Params:
    """Read and check a parameter file.

    Raises:
        ParamsError: every fault of the file.
        OSError: there is no such file.
    """
    path = Path(path)
    try:
        content = read_yaml(path)
    except InputError as error:
        raise ParamsError(str(error)) from None
    if isinstance(content, dict) and BASE.exists():
        content = overlaid(read_yaml(BASE), content)
    return check(content, str(path))


def profiles() -> list[str]:
    """Names of all profiles."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def load_profile(name: str) -> Params:
    """Parameters of a profile.

    Raises:
        InputError: there is no such profile; the message names the nearest.
    """
    if name not in profiles():
        hint = did_you_mean(name, profiles()) or f"there are: {', '.join(profiles())}"
        raise InputError(f"profile {name!r} is unknown; {hint}")
    return load_params(PROFILES / f"{name}.yaml")


def overlaid(base: dict[str, Any], content: dict[str, Any]) -> dict[str, Any]:
    """``content`` with the catalogues of ``base``, to which it adds entries or whose entries it replaces."""
    merged = dict(content)
    for key, entries in base.items():
        given = content.get(key, {})
        merged[key] = {**entries, **given} if isinstance(given, dict) else given
    return merged


def check(content: Any, origin: str) -> Params:
    """Validate the content of a parameter file, which messages call ``origin``.

    Raises:
        ParamsError: every fault of the content.
    """
    from autocontrastive_gen.experiment.checks import cross_faults  # imports torch, which listing profiles must not

    if not isinstance(content, dict):
        raise ParamsError(f"{origin}: must be a mapping with the keys {', '.join(Params.model_fields)}")
    found, params = [], None
    try:
        params = Params.model_validate(content)
    except ValidationError as error:
        found = list(faults.faults(error))
    found += cross_faults(content)
    if params is None or found:
        raise ParamsError("\n".join(f"{origin}: {fault}" for fault in found))
    return params
