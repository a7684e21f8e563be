"""One process at a time in a folder: a lock that the system lets go when its process ends, however that ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from .files import LOCK_NAME, check_output_folder, naming
from .notices import say_once

# What flock answers where another one holds the file, network mounts included, and where there are no locks.
_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)
# How often a second run looks for the holder's name, and the seconds in between.
_LOOKS, _PAUSE = 50, 0.02


class FolderInUse(RuntimeError):
    """Another run, or a store in the making, holds the folder."""


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Hold a folder for one run alone during the block.

    A folder that does not exist is made for it, and goes again where the block has put nothing into it.

    Raises
    ------
    FolderInUse
        Another run, of this process or another one, holds it; the message says which.
    OSError
        The folder cannot be written or made.
    """
    check_output_folder(folder)
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK_NAME
    try:
        descriptor = _take(path)
        try:
            yield
        finally:
            # Removed while it is still held: whoever has opened it by now looks again, see `_take`.
            with contextlib.suppress(OSError):
                path.unlink()
            os.close(descriptor)
    finally:
        with contextlib.suppress(OSError):  # not empty
            for place in made:
                place.rmdir()


def _take(path: Path) -> int:
    name = before = ""
    for _ in range(_LOOKS):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            held = not _lock(descriptor, path)
            with naming(path):
                name = os.pread(descriptor, 1000, 0).decode("utf-8", "replace")
                # A run that ended between the opening and the locking took the file away with it.
                if not held and _is_at(path, descriptor):
                    if not name:
                        os.pwrite(descriptor, _this_process().encode(), 0)
                        return descriptor
                    # Of a run that was killed, whose name nobody is to read as this one's: the next look makes anew.
                    path.unlink(missing_ok=True)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if held:
            # Seen twice it is not what the holder has found there. It may just have begun, and not have written yet.
            if name and name == before:
                break
            before = name
            time.sleep(_PAUSE)
    raise FolderInUse(
        f"{path.parent} is in use by a run ({name or 'another process'}): wait until it ends, or give another folder"
    )


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _lock(descriptor: int, path: Path) -> bool:
    """Lock the file, and tell whether that was possible; on a file system without locks it counts as locked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        if error.errno not in _UNSUPPORTED:
            error.filename = os.fspath(path)
            raise
        say_once(
            f"lock of {path}",
            f"{path.parent} is on a file system without locks ({error.strerror}): start no second run there",
        )
    return True


def _this_process() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}"
