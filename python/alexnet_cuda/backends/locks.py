"""Locks that a fork waits for.

A forked child has one thread, the one that forked, and a copy of every lock. A lock that another thread held at that
moment would stay shut in it for ever, and what that thread was in the midst of would stay half done. So a fork waits
until it holds all of these locks; parent and child then give them back.
"""

from __future__ import annotations

import enum
import os
import threading
import weakref
from itertools import count
from typing import Any


class Level(enum.IntEnum):
    """Whose a lock is. A thread that holds one takes others of higher levels only, so that none waits in a circle."""

    MODEL = 0
    EXECUTOR = 1
    BLAS = 2


_locks: weakref.WeakValueDictionary[tuple[Level, int], Any] = weakref.WeakValueDictionary()
_numbers = count()
_one_fork = threading.Lock()
_held: list[Any] = []


def fork_lock(level: Level) -> Any:
    """A new `threading.RLock` that forks wait for."""
    lock = threading.RLock()
    _locks[level, next(_numbers)] = lock
    return lock


def _before_fork() -> None:
    _one_fork.acquire()
    for reference in sorted(_locks.valuerefs(), key=lambda reference: reference.key):
        if (lock := reference()) is not None:
            lock.acquire()
            _held.append(lock)


def _after_fork() -> None:
    while _held:
        _held.pop().release()
    _one_fork.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
