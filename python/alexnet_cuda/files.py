"""Files that are either whole or absent: writing through a temporary name, and checks before anything is written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a file that takes the place of `path` only once it is complete and on disk.

    What is written goes to ``.<name>.tmp`` in the same folder; at the end of the block it is flushed, fsynced and
    renamed over `path`, and the folder is fsynced. When the block raises, the temporary file is removed and `path`
    keeps what it held. A process that is killed leaves at most the temporary file, which the next write replaces.

    Parameters
    ----------
    path
        The file to write; its folder must exist.
    mode
        ``"wb"`` for bytes, ``"w"`` for UTF-8 text.

    Raises
    ------
    FileNotFoundError
        When the folder does not exist.
    OSError
        When the folder cannot be written or the disk is full (``PermissionError``, ``IsADirectoryError``, ...).
    """
    if mode not in ("wb", "w"):
        raise ValueError(f"atomic_write: mode must be 'wb' or 'w', not {mode!r}")
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"cannot write {target}: the folder {target.parent} does not exist")
    if target.is_dir():
        raise IsADirectoryError(f"cannot write {target}: it is a folder")
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        file: IO[Any] = open(temporary, mode, encoding=None if "b" in mode else "utf-8")  # noqa: SIM115
    except PermissionError as error:
        raise PermissionError(f"cannot write {target}: the folder {target.parent} does not permit it") from error
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def check_output_folder(folder: str | os.PathLike[str]) -> Path:
    """Check, without writing anything, that `folder` is a folder that can be written or can be created.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    NotADirectoryError
        When it, or a folder above it, is a file.
    PermissionError
        When it, or the nearest folder above it that exists, does not permit writing.
    """
    wanted = Path(folder)
    nearest = wanted.absolute()
    while not os.path.lexists(nearest):
        nearest = nearest.parent
    if not nearest.is_dir():
        raise NotADirectoryError(f"cannot write to the folder {wanted}: {nearest} is not a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise PermissionError(f"cannot write to the folder {wanted}: {nearest} does not permit it")
    return wanted
