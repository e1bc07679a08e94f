"""Assets: models and texts, each fetched once, verified and kept.

The store is ``.scratch/assets/<digest of the source>``, so fetching again after an edit of the parameters only copies
files. Every file is hashed when it arrives and again when it is copied into the run; one that has changed is fetched
again.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from autocontrastive_gen.data import local_tasks
from autocontrastive_gen.data.sources import STORE, Mismatch, bring, describe, digests, folder_sha256, reach, verify
from autocontrastive_gen.experiment.asset_schema import Asset, AssetTerms, HubAsset, PathAsset, PypiAsset, UrlAsset
from autocontrastive_gen.foundation.commands import alone
from autocontrastive_gen.foundation.digests import file_sha256, fingerprint
from autocontrastive_gen.foundation.errors import FileError
from autocontrastive_gen.foundation.files import read_json
from autocontrastive_gen.foundation.resume import Kept, say_damaged, sync

log = logging.getLogger(__name__)


def provide(name: str, asset: Asset, folder: Path, model: bool = False, known: dict | None = None) -> dict:
    """Bring an asset into ``folder``, whole or not at all, and return its record for assets.json.

    Args:
        model: the folder must load with ``from_pretrained``, so a GGUF file is converted to safetensors.
        known: the record of what the folder already holds. If that is the asset, unchanged, it stays: a clone that got
            its outputs from a DVC remote needs no network.

    Raises:
        FileError: the asset cannot be obtained (the message says how to provide it), or a digest is not the expected
            one.
    """
    terms = asset.model_dump(include=set(AssetTerms.model_fields))
    if known and _is_there(asset, folder, known):
        return known | terms
    if isinstance(asset, HubAsset | UrlAsset) and asset.stream:
        folder.mkdir(parents=True, exist_ok=True)
        return reach(name, asset) | terms
    content, record = _on_disk(name, asset) if isinstance(asset, PathAsset) else _kept(name, asset)
    if model and (gguf := _only_gguf(content, record)):
        if "sha256" not in record:
            record["sha256"] = file_sha256(content / gguf)
            verify(name, asset, {gguf: record["sha256"]})
        content, record = _converted(name, content / gguf, record)
    record["files"] = _copy(name, asset, content, record, folder)
    record.setdefault("sha256", folder_sha256(record["files"]))
    return record | terms


def _is_there(asset: Asset, folder: Path, known: dict) -> bool:
    """Whether the folder holds the asset as recorded. A source on disk may have changed, so it is always read again."""
    same = known.get("kind") == asset.kind and known.get("source") == describe(asset)
    pinned = getattr(asset, "sha256", None) in (None, known.get("sha256"))
    parts = isinstance(asset, HubAsset) and asset.files  # other patterns may ask for more files
    if isinstance(asset, PathAsset) or not (same and pinned) or parts:
        return False
    return folder.is_dir() and digests(folder) == known.get("files")


def provide_tasks(tasks: list[str], folder: Path, given: tuple[Path, str] | None = None) -> None:
    """Bring the data of those ``tasks`` that are lm-eval's own into ``folder``, as a bundle.

    Args:
        given: a folder that is searched before the hub, and its digest.

    Raises:
        FileError: as ``provide``.
    """
    if not (tasks := [task for task in tasks if task not in local_tasks.TASKS]):
        shutil.rmtree(folder, ignore_errors=True)
        return
    lm_eval = importlib.metadata.version("lm_eval")

    def build(content: Path) -> dict:
        from autocontrastive_gen.data.bundles import collect

        log.info("tasks: fetching the data of %s", ", ".join(tasks))
        collect(tasks, content, given[0] if given else _left_bundle(folder, lm_eval))
        return {"files": digests(content), "kind": "tasks"}

    content, record = _stored(["tasks", sorted(tasks), lm_eval, given and given[1]], build)
    _copy("tasks", None, content, record | {"sha256": ""}, folder)


def _left_bundle(folder: Path, lm_eval: str) -> Path | None:
    """The folder, if it holds an undamaged bundle made with this version of lm-eval."""
    try:
        content = read_json(folder / "bundle.json")
        files = [file for task in content["tasks"].values() for file in task["splits"].values()]
        whole = all(file_sha256(folder / file["file"]) == file["sha256"] for file in files)
    except (OSError, ValueError):
        return None
    return folder if whole and content["lm_eval"] == lm_eval else None


# The store -----------------------------------------------------------------------------------------------------------


def _kept(name: str, asset: Asset) -> tuple[Path, dict]:
    """Folder with the files of an asset, and its record; the asset is fetched if the store lacks it."""

    def build(content: Path) -> dict:
        log.info("%s: fetching %s", name, describe(asset))
        revision = bring(name, asset, content)
        files = digests(content)
        record = {"kind": asset.kind, "source": describe(asset), "revision": revision, "files": files}
        return record | {"sha256": asset.sha256 if isinstance(asset, PypiAsset) else folder_sha256(files)}

    return _stored(asset.pins(), build)


def _stored(key: Any, build: Callable[[Path], dict]) -> tuple[Path, dict]:
    """Content and record of an entry of the store.

    If it is not there, or damaged, ``build`` fills an empty folder with the content and returns the record. The entry
    appears in the store only if that succeeds. Of several processes that want it, one builds it.
    """
    entry = STORE / fingerprint(key)
    with alone(entry.with_name(f"{entry.name}.lock"), "brings the same asset"):
        return _entry(entry, build)


def _entry(entry: Path, build: Callable[[Path], dict]) -> tuple[Path, dict]:
    kept, content, building = Kept(entry), entry / "content", entry / "building"
    if record := kept.read_json("record.json"):
        found = digests(content)
        damaged = [path for path, expected in record["files"].items() if found.get(path) != expected]
        if not damaged:
            return content, record
        say_damaged(content / damaged[0])
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    record = build(building)
    for path in record["files"]:
        sync(building / path)
    kept.clear()
    shutil.rmtree(content, ignore_errors=True)
    building.rename(content)
    kept.write_json("record.json", record)
    return content, record


def _on_disk(name: str, asset: PathAsset) -> tuple[Path, dict]:
    """Like ``_kept``, for files that are already on disk: they are hashed when they are copied."""
    source = Path(asset.path).expanduser()
    if not source.exists():
        raise FileError(
            f"asset {name}: {asset.path} does not exist; put the file or folder there, or edit assets.{name}"
        )
    folder = source if source.is_dir() else source.parent
    paths = [path for path in sorted(source.rglob("*")) if path.is_file()] if source.is_dir() else [source]
    if not paths:
        raise FileError(f"asset {name}: the folder {asset.path} holds no file")
    files = {path.relative_to(folder).as_posix(): None for path in paths}
    return folder, {"kind": "path", "source": asset.path, "revision": "", "files": files}


def _copy(name: str, asset: Asset, content: Path, record: dict, folder: Path) -> dict[str, str]:
    """Copy the files to ``folder`` and hash them on the way."""
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    files = {path: _copy_file(content / path, temporary / path) for path in record["files"]}
    for path, expected in record["files"].items():
        if expected is not None and files[path] != expected:
            raise Mismatch(
                f"asset {name}: {content / path} changed while it was copied: expected sha256 {expected}, "
                f"found {files[path]}; run the same command again"
            )
    if "sha256" not in record:
        verify(name, asset, files)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)
    return files


def _copy_file(source: Path, target: Path) -> str:
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    try:
        with open(source, "rb") as read, open(target, "wb") as write:
            while chunk := read.read(1 << 20):
                digest.update(chunk)
                write.write(chunk)
    except FileNotFoundError:
        return "no such file"
    return digest.hexdigest()


# GGUF ----------------------------------------------------------------------------------------------------------------


def _only_gguf(content: Path, record: dict) -> str | None:
    """Name of the only GGUF file of an asset without a config.json; None for any other asset."""
    found = [path for path in record["files"] if path.endswith(".gguf")]
    return found[0] if len(found) == 1 and "config.json" not in record["files"] else None


def _converted(name: str, gguf: Path, record: dict) -> tuple[Path, dict]:
    """The model folder in the store that a GGUF file was converted to."""

    def build(content: Path) -> dict:
        from autocontrastive_gen.data.gguf import convert

        log.info("%s: converting %s to safetensors (once)", name, gguf.name)
        convert(gguf, content)
        return {"files": digests(content)}

    content, converted = _stored(["gguf", 1, record["sha256"]], build)
    return content, record | converted
