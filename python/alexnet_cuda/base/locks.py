"""Locks that a fork waits for.

A forked child has one thread, the one that forked, and a copy of every lock. A lock that another thread held at that
moment would stay shut in it for ever, and what that thread was in the midst of would stay half done. So a fork waits
until it holds all of these locks; parent and child then give them back.
"""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401 - see the end
import enum
import importlib
import logging  # noqa: F401 - see the end
import os
import threading
import weakref
from functools import cache
from itertools import count
from typing import Any


class Level(enum.IntEnum):
    """The order in which a thread may take several: by ascending level, and of one level the older first."""

    MODEL = 0
    EXECUTOR = 1
    BLAS = 2
    IMPORT = 3
    LOADER = 4


class ForkLock:
    """A reentrant lock that forks wait for, and that nobody can take twice while another one waits for it.

    Parameters
    ----------
    level : Level
    """

    def __init__(self, level: Level) -> None:
        self._lock: Any = threading.RLock()
        self._next = threading.RLock()  # held by whose turn is next; its signal handlers may come here too
        _locks[level, next(_numbers)] = self

    def __enter__(self) -> None:
        if self._lock._is_owned():
            self._lock.acquire()
            return
        with self._next:
            self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def renew(self, held: bool) -> None:
        """Forget the threads that wait, and, where this one does not hold the lock, the one that does: in a child."""
        self._next = threading.RLock()
        if not held:
            self._lock = threading.RLock()


_locks: weakref.WeakValueDictionary[tuple[Level, int], ForkLock] = weakref.WeakValueDictionary()
_numbers = count()
_one_fork = threading.Lock()
_held: list[ForkLock] = []
_import_lock = ForkLock(Level.IMPORT)


@cache
def late_import(name: str) -> Any:
    """A module that is imported when it is first needed, maybe in a thread; a child could not wait for the end of that.

    Raises
    ------
    ImportError
        There is none of this name.
    """
    with _import_lock:
        return importlib.import_module(name)


def _before_fork() -> None:
    _one_fork.acquire()
    for reference in sorted(_locks.valuerefs(), key=lambda reference: reference.key):
        if (lock := reference()) is not None:
            lock.__enter__()
            _held.append(lock)


def _in_parent() -> None:
    while _held:
        _held.pop().__exit__()
    _one_fork.release()


def _in_child() -> None:
    for lock in list(_locks.values()):
        lock.renew(lock in _held)  # not where it was made while the fork waited for others
    _in_parent()


# Handlers of forks run last-registered first, and concurrent.futures and logging have some that wait for their locks.
# Who holds a lock of ours may need theirs, so these have to be waited for later: both are imported above.
os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)
