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
import signal
import threading
import weakref
from collections.abc import Callable
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
        if self.is_mine():
            self._lock.acquire()
            return
        try:
            with self._next:
                self._lock.acquire()
        except BaseException:  # of a handler of signals, maybe just after
            if self.is_mine():
                self._lock.release()
            raise

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def is_mine(self) -> bool:
        """Whether this thread holds it."""
        return bool(self._lock._is_owned())

    def renew(self) -> None:
        """Forget the threads that wait, and, where this one does not hold the lock, the one that does: in a child."""
        self._next = threading.RLock()
        if not self.is_mine():
            self._lock = threading.RLock()


_locks: weakref.WeakValueDictionary[tuple[Level, int], ForkLock] = weakref.WeakValueDictionary()
_numbers = count()
_one_fork = threading.RLock()
_held_before: list[ForkLock] | None = None  # by the thread that forks, which gives back all but these
#: Held while something is imported that a thread may need first.
import_lock = ForkLock(Level.IMPORT)


@cache
def late_import(name: str) -> Any:
    """A module that is imported when it is first needed, maybe in a thread; a child could not wait for the end of that.

    Raises
    ------
    ImportError
        There is none of this name.
    """
    with import_lock:
        return importlib.import_module(name)


def _in_order() -> list[ForkLock]:
    references = sorted(_locks.valuerefs(), key=lambda reference: reference.key)
    return [lock for lock in (reference() for reference in references) if lock is not None]


def _take_all() -> None:
    global _held_before
    if not _one_fork._is_owned():  # type: ignore[attr-defined]
        _one_fork.acquire()
    if _held_before is None:
        _held_before = [lock for lock in _in_order() if lock.is_mine()]
    for lock in _in_order():
        if not lock.is_mine():
            lock.__enter__()
    if _held_before is None:  # a handler of signals forked meanwhile, and gave all back
        _take_all()


def _give_back_all() -> None:
    global _held_before
    if _held_before is not None:
        for lock in reversed(_in_order()):
            if lock.is_mine() and lock not in _held_before:
                lock.__exit__()
    _held_before = None
    if _one_fork._is_owned():  # type: ignore[attr-defined]
        _one_fork.release()


def _renew_all() -> None:
    for lock in _in_order():
        lock.renew()  # for one that was made while the fork waited for others
    _give_back_all()


def _to_the_end(work: Callable[[], None]) -> Callable[[], None]:
    """Do `work`, which goes on where it was, to its end, whatever a handler of signals raises within it.

    Python prints what a handler of forks raises, and forks. So Ctrl-C is sent again, to come after that.
    """

    def finish() -> None:
        raised: BaseException | None = None
        while True:
            try:
                work()
                break
            except BaseException as error:
                raised = error
        if isinstance(raised, KeyboardInterrupt):
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        elif raised is not None:
            raise raised

    return finish


# Handlers of forks run last-registered first, and concurrent.futures and logging have some that wait for their locks.
# Who holds a lock of ours may need theirs, so these have to be waited for later: both are imported above.
os.register_at_fork(
    before=_to_the_end(_take_all),
    after_in_parent=_to_the_end(_give_back_all),
    after_in_child=_to_the_end(_renew_all),
)
