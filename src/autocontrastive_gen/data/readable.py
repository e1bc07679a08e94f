"""What readers of file formats raise, as one message that names the file."""

from __future__ import annotations

import errno
import gzip
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autocontrastive_gen.foundation.errors import FileError, UserError, is_out_of_memory

DAMAGED = (UnicodeDecodeError, EOFError, lzma.LZMAError, gzip.BadGzipFile, zlib.error)
"""What reading a damaged or truncated text file raises."""
_COMPLAINTS = (
    OSError, ValueError, LookupError, TypeError, AttributeError, SyntaxError, RuntimeError, zipfile.BadZipFile,
    tarfile.TarError, struct.error, *DAMAGED,
)  # fmt: skip
"""What readers raise for a file that is damaged or in another format: many have errors of their own below these."""


@contextmanager
def readable(path: Path | str, what: str) -> Iterator[None]:
    """Within it, what a reader says of the file ``path`` ends in a message that names the file.

    Raises:
        FileError: the file is damaged or not ``what``.
    """
    try:
        yield
    except UserError:
        raise
    except _COMPLAINTS as error:
        # EINVAL: the file names a place that is none, such as one before its beginning
        of_system = isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)
        if of_system or is_out_of_memory(error):
            raise  # no such file, a full disk
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise FileError(f"{path}: is damaged or not {what} ({said})") from error
