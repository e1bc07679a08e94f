"""Source distributions from a package index, downloaded but never built.

``pip download`` asks a source distribution for its metadata, which runs the package's own build code. So the file is
found on the index's page (PEP 503) and downloaded by its link. What the user has configured for pip is honoured:
``index-url``, ``extra-index-url``, ``no-index``, ``find-links``, ``cert``, ``proxy``, and credentials in a URL.
"""

from __future__ import annotations

import ast
import shutil
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit, urlunsplit

from packaging.utils import InvalidSdistFilename, canonicalize_name, parse_sdist_filename
from packaging.version import Version

from autocontrastive_gen.data.download import TIMEOUT, download
from autocontrastive_gen.foundation.errors import FileError

DEFAULT_INDEX = "https://pypi.org/simple"


def download_sdist(package: str, version: str, folder: Path) -> Path:
    """The source distribution of a package's version, downloaded into ``folder``.

    Raises:
        FileError: no configured index has it, or it cannot be downloaded.
    """
    index = PackageIndex()
    link = index.sdist(package, version)
    target = folder / unquote(urlsplit(link).path.rpartition("/")[2])
    if link.startswith("file:"):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_local_path(link), target)
    else:
        download([link], target, index.open)
    return target


class PackageIndex:
    """The indexes and folders of packages that pip is configured with, opened with pip's certificates and proxy."""

    def __init__(self) -> None:
        options = pip_options()
        self._passwords = urllib.request.HTTPPasswordMgrWithPriorAuth()
        context = ssl.create_default_context(cafile=options.get("cert"))
        proxy = dict.fromkeys(("http", "https"), options["proxy"]) if "proxy" in options else None
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=context),
            urllib.request.ProxyHandler(proxy),
            urllib.request.HTTPBasicAuthHandler(self._passwords),
        )
        indexes = [options.get("index-url", DEFAULT_INDEX), *options.get("extra-index-url", "").split()]
        self._indexes = [] if options.get("no-index") in ("true", "1", "yes", "on") else indexes
        self._folders = options.get("find-links", "").split()

    def open(self, url: str | urllib.request.Request, timeout: float = TIMEOUT):
        """``urllib.request.urlopen`` with pip's settings."""
        return self._opener.open(url, timeout=timeout)

    def sdist(self, package: str, version: str) -> str:
        """URL of the source distribution.

        Raises:
            FileError: none of the pages lists it; the message names each page and what was wrong with it.
        """
        wanted = canonicalize_name(package), Version(version)
        faults = []
        for page in [*self._folders, *(f"{index.rstrip('/')}/{wanted[0]}/" for index in self._indexes)]:
            address = self._without_password(page)
            try:
                for link in self._links(address):
                    if _sdist_of(link) == wanted:
                        return link
                faults.append(f"{address} lists no source distribution {package}-{version}")
            except OSError as error:
                faults.append(f"{address}: {error}")
        raise FileError("; ".join(faults) or "pip is configured with neither an index nor a folder")

    def _links(self, page: str) -> Iterator[str]:
        path = _local_path(page)
        if path is not None and path.is_dir():
            if not (path / "index.html").exists():
                yield from (file.resolve().as_uri() for file in sorted(path.iterdir()))
                return
            page = (path / "index.html").resolve().as_uri()
        with self.open(urllib.request.Request(page, headers={"Accept": "text/html"})) as response:
            parser = _Anchors()
            parser.feed(response.read().decode("utf-8", "replace"))
            yield from (urldefrag(urljoin(response.url, link)).url for link in parser.links)

    def _without_password(self, url: str) -> str:
        """The URL without its credentials, which are kept for the requests to that server."""
        parts = urlsplit(url)
        if "@" not in parts.netloc:
            return url
        credentials, _, host = parts.netloc.rpartition("@")
        user, _, password = (unquote(part) for part in credentials.partition(":"))
        server = urlunsplit((parts.scheme, host, "/", "", ""))
        self._passwords.add_password(None, server, user, password, is_authenticated=True)
        return urlunsplit(parts._replace(netloc=host))


class _Anchors(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value for key, value in attrs if tag == "a" and key == "href" and value]


def pip_options() -> dict[str, str]:
    """pip's configuration as ``pip download`` sees it: the environment before its own section before the global one."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    lines = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
    options = {}
    for section in ("global.", "download.", ":env:."):
        for name, _, value in (line.partition("=") for line in lines if line.startswith(section)):
            options[name.removeprefix(section)] = ast.literal_eval(value)
    return options


def _sdist_of(link: str) -> tuple[str, Version] | None:
    try:
        return parse_sdist_filename(unquote(urlsplit(link).path.rpartition("/")[2]))
    except InvalidSdistFilename:
        return None


def _local_path(address: str) -> Path | None:
    """The path that a file URL or a plain path names; None for any other URL."""
    if address.startswith("file:"):
        return Path(urllib.request.url2pathname(urlsplit(address).path))
    return None if "://" in address else Path(address)
