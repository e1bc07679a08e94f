"""Downloads from web servers: a broken connection resumes where it broke, and mirrors replace one another."""

from __future__ import annotations

import http.client
import io
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from autocontrastive_gen.foundation.errors import FileError
from autocontrastive_gen.foundation.progress import ProgressBar
from autocontrastive_gen.foundation.resume import Beginning

log = logging.getLogger(__name__)

ATTEMPTS = 6
"""Consecutive failures, over all mirrors, before giving up."""
PAUSE = 1.0
"""Seconds before the first retry; they double each time."""
TIMEOUT = 60.0
CHUNK = 1 << 20


class HttpStream(io.RawIOBase):
    """A file behind one or more URLs as a readable stream that starts at byte ``start``.

    A lost connection is reopened at the current position, at the next mirror in turn.

    Raises:
        FileError: ``ATTEMPTS`` failures without progress, or a change of the file's size.
    """

    def __init__(
        self,
        urls: Sequence[str],
        start: int = 0,
        size: int | None = None,
        open_url: Callable[..., Any] = urllib.request.urlopen,
    ):
        self.urls = list(urls)
        self._open_url = open_url
        self.position = start
        self.size = size
        """Bytes of the whole file, as stated by the server; None if it states none."""
        self.identity = ""
        """ETag or date of the file, as stated by the server."""
        self._turn = 0
        self._failures: list[str] = []
        self._response: http.client.HTTPResponse | None = None
        self._connect()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        while True:
            try:
                count = self._response.readinto(buffer)
                if count == 0 and self.size is not None and self.position < self.size:
                    raise ConnectionError(f"connection closed at byte {self.position} of {self.size}")
            except (OSError, http.client.HTTPException) as error:
                self._failed(error)
                self._connect()
                continue
            if count:
                self._failures.clear()
            self.position += count
            return count

    def close(self) -> None:
        if self._response is not None:
            self._response.close()
        super().close()

    def _connect(self) -> None:
        while True:
            url = self.urls[self._turn % len(self.urls)]
            try:
                self._open(url)
                return
            except (OSError, http.client.HTTPException) as error:
                if isinstance(error, StreamChanged):
                    raise
                self._failed(error)

    def _open(self, url: str) -> None:
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={self.position}-"} if self.position else {})
        try:
            response = self._open_url(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
        except urllib.error.HTTPError as error:
            if error.code == 416 and error.headers.get("Content-Range", "") == f"bytes */{self.position}":
                self.size, self._response = self.position, io.BytesIO()  # nothing is left to read
                return
            raise
        if response.status not in (200, 206):
            raise ConnectionError(f"the server answered {response.status}, without the file")
        if self.position and response.status != 206:
            raise FileError(f"{url}: the server cannot resume at byte {self.position} (answered {response.status})")
        length = response.headers.get("Content-Length")
        size = None if length is None else self.position + int(length)
        if self.size is not None and size is not None and size != self.size:
            raise StreamChanged(f"{url}: has {size} bytes now, but had {self.size} when reading began")
        self.size = size
        self.identity = self.identity or response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        self._response = response

    def _failed(self, error: Exception) -> None:
        url = self.urls[self._turn % len(self.urls)]
        self._turn += 1
        self._failures.append(f"{url}: {error}")
        if len(self._failures) >= ATTEMPTS or self._hopeless(error):
            raise FileError("; ".join(dict.fromkeys(self._failures)))
        pause = PAUSE * 2 ** (len(self._failures) - 1)
        log.warning("%s; trying again in %.0f s", self._failures[-1], pause)
        time.sleep(pause)

    def _hopeless(self, error: Exception) -> bool:
        """Every mirror has denied the file."""
        denied = isinstance(error, urllib.error.HTTPError) and error.code in (401, 403, 404, 410)
        return denied and len(self._failures) >= len(self.urls)


class StreamChanged(FileError):
    """The file on the server is no longer the one that reading began with."""


def download(urls: Sequence[str], target: Path, open_url: Callable[..., Any] = urllib.request.urlopen) -> str:
    """Download to ``target`` and return the source's identity (ETag or date).

    Bytes arrive in ``<target>.part``; a rerun resumes at its end. ``open_url`` replaces ``urlopen`` if the server needs
    other certificates, a proxy or credentials.
    """
    with closing(Beginning(target.with_name(target.name + ".part"))) as part:
        for _ in part.chunks():
            pass  # what checks out stays
        with HttpStream(urls, part.size, open_url=open_url) as stream:
            bar = ProgressBar(total=stream.size, initial=part.size, unit="B", unit_scale=True, desc=target.name)
            with bar:
                while chunk := stream.read(CHUNK):
                    part.append(chunk)
                    bar.update(len(chunk))
        part.move(target)
    return stream.identity
