"""Files that are either whole or absent: writing through a temporary name, and checks before anything is written."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

#: What a training run holds its folder by.
LOCK_NAME = "run.lock"

# What network mounts and FUSE answer to an fsync or chmod that they do not have; a disk that fails says EIO or ENOSPC.
_UNSUPPORTED = {
    errno.EINVAL,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.EPERM,
    errno.EACCES,
    errno.EROFS,
    errno.EBADF,
}
#: What a training run leaves in its folder.
CHECKPOINT_NAME = "checkpoint.safetensors"
BEST_NAME = "best.safetensors"
RUN_NAME = "run.json"
METRICS_NAME = "metrics.jsonl"
CURVES_NAME = "curves.png"
FILTERS_NAME = "conv1_filters.png"
PAGE_NAME = "index.html"
#: What the names of pictures begin with that `alexnet-cuda show` leaves beside its page.
SHOWN_PREFIX = "show-"


@contextlib.contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Give an OSError of the block the name of its file, which those of reading, writing and syncing do not have."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = os.fspath(path)
        raise


@contextlib.contextmanager
def _where_supported() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


def _sync(path: Path) -> None:
    with _where_supported():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _followed(path: str | os.PathLike[str]) -> Path:
    """What is to be replaced: where `path` is a symbolic link, the file that it leads to, or would, not the link."""
    target = Path(os.path.realpath(path)) if os.path.islink(path) else Path(path)
    if target.is_symlink():
        raise OSError(errno.ELOOP, "cannot write through a symbolic link that leads back to itself", os.fspath(path))
    return target


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path whose file takes the place of `path` only once it is complete and on disk.

    A symbolic link stays; the file that it leads to is replaced.

    The temporary file is ``.<name>.tmp`` in the same folder; at the end of the block it is fsynced and renamed over
    `path`, and the folder is fsynced. When the block raises, the temporary file is removed and `path` keeps what it
    held. A process that is killed leaves at most the temporary file, which the next write replaces. Where the file
    system knows no fsync or chmod of a file or a folder, it goes without.

    Raises
    ------
    FileNotFoundError
        When the folder does not exist.
    OSError
        When there is something else than a regular file, the folder cannot be written or the disk is full
        (``PermissionError``, ``IsADirectoryError``, ...).
    """
    target = _followed(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"cannot write {target}: the folder {target.parent} does not exist")
    if target.is_dir():
        raise IsADirectoryError(f"cannot write {target}: it is a folder")
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "cannot replace a device, pipe or socket by a file", os.fspath(target))
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
    except PermissionError as error:
        raise PermissionError(f"cannot write {target}: the folder {target.parent} does not permit it") from error
    with naming(target):
        try:
            yield temporary
            # A library that writes through a temporary file of its own may have made it readable by its owner alone.
            with _where_supported():
                temporary.chmod(mode)
            _sync(temporary)
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync(target.parent)


def is_same_file(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Whether both are there, and one file."""
    return os.path.exists(one) and os.path.exists(other) and os.path.samefile(one, other)


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
