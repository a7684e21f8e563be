"""An archive as a file that can be read at any offset: itself, or its decompressed copy."""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import os
import tempfile
import zlib
from collections.abc import Callable
from typing import IO, Any

from .base import printable

_OPENERS: tuple[tuple[bytes, Callable[[IO[bytes]], Any]], ...] = (
    (b"\x1f\x8b", lambda stream: gzip.GzipFile(fileobj=stream, mode="rb")),
    (b"BZh", bz2.BZ2File),
    (b"\xfd7zXZ\x00", lzma.LZMAFile),
)
_CHUNK = 1 << 20
#: Images hardly compress and tar's own padding compresses perhaps tenfold; a bomb reaches a thousandfold.
MAX_RATIO = 50
#: Archives below this size when decompressed are never taken for a bomb.
FREE_BYTES = 1 << 30


def decompress(path: str | os.PathLike[str]) -> int:
    """Open an archive for reading at any offset.

    Parameters
    ----------
    path : path
        Plain, or compressed by gzip, bzip2 or xz, as its first bytes say.

    Returns
    -------
    int
        A file descriptor, the caller's to close: of the file itself, or of a nameless temporary file.

    Raises
    ------
    ValueError
        The compressed data are damaged, cut short, or expand beyond `MAX_RATIO` times their size (and 1 GiB).
    OSError
        The file cannot be read or the copy cannot be written.
    """
    name = printable(os.fspath(path))
    with open(path, "rb") as stream:
        magic = stream.read(8)
        stream.seek(0)
        opener = next((opener for start, opener in _OPENERS if magic.startswith(start)), None)
        if opener is None:
            return os.dup(stream.fileno())
        limit = max(FREE_BYTES, MAX_RATIO * os.fstat(stream.fileno()).st_size)
        with tempfile.TemporaryFile() as copy, opener(stream) as plain:
            _copy(plain, copy, limit, name)
            return os.dup(copy.fileno())


def _copy(plain: IO[bytes], copy: IO[bytes], limit: int, name: str) -> None:
    total = 0
    while True:
        try:
            data = plain.read(_CHUNK)
        except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # the system's; the decompressors' has no number
                error.filename = name
                raise
            raise ValueError(f"{name} is damaged or cut short ({error})") from error
        if not data:
            break
        total += len(data)
        if total > limit:
            raise ValueError(f"{name} expands to more than {limit / 2**30:.0f} GiB, which no archive of images does")
        try:
            copy.write(data)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise OSError(
                errno.ENOSPC, f"no room in {tempfile.gettempdir()} for {name} decompressed: set TMPDIR or decompress it"
            ) from error
    copy.flush()
