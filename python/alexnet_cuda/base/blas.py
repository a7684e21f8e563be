"""Holds BLAS to one thread while this package computes, and gives the user back what was there.

A limit that the user sets, or gives back, in another thread meanwhile stays. One that he sets meanwhile and gives back
later gives back our one thread: nobody can tell him what was there before.

Whom a limit holds for differs: everybody (OpenBLAS with threads of its own), or the calling thread alone (MKL, OpenMP).
And threadpoolctl, since 3.8, lets only one thread set the limit of such an OpenBLAS and ignores all others without a
word. So every thread that computes asks for its limit itself, and what was asked for is read back.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from .locks import ForkLock, Level
from .notices import say_once

_lock = ForkLock(Level.BLAS)
_holders: set[object] = set()
# Threads before the first holder, of libraries whose limit is everybody's: the last holder gives them back.
_before: dict[Any, int] = {}


@cache
def _libraries() -> list[Any]:
    from threadpoolctl import ThreadpoolController

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """A context in which BLAS calls of this thread run in this thread alone, whatever other threads enter or leave.

    A library that does not obey is warned of.
    """
    holder = object()
    mine: dict[Any, int] = {}
    try:
        with _lock:
            _holders.add(holder)
            for library in _libraries():
                if (threads := library.num_threads) != 1:
                    _set(library, 1)
                    (_before if _is_process_wide(library) else mine).setdefault(library, threads)
        yield
    finally:
        with _lock:
            _holders.discard(holder)
            _give_back(mine)
            if not _holders:
                _give_back(_before)


def _set(library: Any, threads: int) -> None:
    control = getattr(library, "clear_controlling_thread", lambda force: None)  # threadpoolctl since 3.8
    for _ in range(3):  # another thread may take the control in between
        control(force=True)
        library.set_num_threads(threads)
        if (actual := library.num_threads) == threads:
            break
    else:
        say_once(
            library.filepath,
            f"{library.filepath} was asked for {threads} threads and has {actual}: results can depend on the number of "
            "its threads; start Python with OPENBLAS_NUM_THREADS=1, or what limits this library",
        )


def _give_back(before: dict[Any, int]) -> None:
    while before:
        library, threads = before.popitem()
        # None: a library that does not say. Another number than ours is of somebody who has set his own since.
        if threads is not None and library.num_threads == 1:
            _set(library, threads)
            getattr(library, "clear_controlling_thread", lambda force: None)(force=True)


@cache
def _is_process_wide(library: Any) -> bool:
    """Whether the limit of one that this thread has just set is found by another one too."""
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(library.num_threads))
    thread.start()
    thread.join()
    return found == [1]


def _in_child() -> None:
    _holders.clear()  # threads of the parent
    _give_back(_before)


os.register_at_fork(after_in_child=_in_child)
