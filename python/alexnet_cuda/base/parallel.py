"""Spreads independent blocks of NumPy work over the cores.

NumPy releases the interpreter lock inside its loops and BLAS calls, so plain threads suffice. BLAS itself is held to
one thread meanwhile: each worker keeps its own block in its own cache, and what is added in which order never depends
on the number of threads, so neither do the bits of a result.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache, partial
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

from .array import ConstantArray, main_memory
from .blas import one_blas_thread
from .cores import available_cores
from .notices import say_once

_OURS, _OPENMP = "ALEXNET_CUDA_NUM_THREADS", "OMP_NUM_THREADS"


@cache
def num_threads() -> int:
    """Worker threads: ``ALEXNET_CUDA_NUM_THREADS``, else ``OMP_NUM_THREADS``, else the cores this process may use.

    Those are the cores of its affinity mask, or fewer where a control group (of a container, say) has a CPU quota.

    Of ``OMP_NUM_THREADS`` the first of a list counts. It is other software's variable: what is no number of threads is
    left out of account, and said once.

    Raises
    ------
    ValueError
        ``ALEXNET_CUDA_NUM_THREADS`` is no positive integer.
    """
    if text := os.environ.get(_OURS, "").strip():
        if not (threads := _positive(text)):
            raise ValueError(f"{_OURS} must be a positive integer, got {text!r}")
        return threads
    if text := os.environ.get(_OPENMP, "").strip():
        if threads := _positive(text.partition(",")[0].strip()):
            return threads
        say_once(_OPENMP, f"{_OPENMP} is {text!r}, no positive integer or list of them: ignored; {_OURS} sets threads")
    return available_cores()


def _positive(text: str) -> int:
    """The positive integer that a text is, 0 for any other."""
    return int(text) if text.isascii() and text.isdigit() else 0


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, num_threads() - 1), thread_name_prefix="alexnet-cpu")


os.register_at_fork(after_in_child=_pool.cache_clear)  # its threads are the parent's

_state = threading.local()


def parallel_for(body: Callable[[int], object], tasks: int) -> None:
    """Call ``body(i)`` for each ``i`` in ``range(tasks)``, in any order, on all cores; return when all are done.

    The first exception of a body is raised here, after the running bodies have ended. Called from inside a body, it
    runs in that thread.
    """
    if tasks <= 0 or preallocating():
        return
    if getattr(_state, "busy", False):
        for i in range(tasks):
            body(i)
        return
    numbers = count()  # next() on it is atomic: the workers draw their tasks from one counter
    failed = threading.Event()

    def work() -> None:
        _state.busy = True
        try:
            while (i := next(numbers)) < tasks and not failed.is_set():
                body(i)
        except BaseException:
            failed.set()
            raise
        finally:
            _state.busy = False

    def help_along() -> None:
        with one_blas_thread():
            work()

    with one_blas_thread():
        _together(work, help_along, min(num_threads(), tasks) - 1, failed.set)


@contextmanager
def preallocation() -> Iterator[None]:
    """A context in which operations that this thread calls do nothing but take their workspace; see `Runtime`'s.

    Those that NumPy does (float64, or ``ALEXNET_CUDA_CPU=numpy``) do nothing at all: they take theirs as they run.
    """
    before, _state.preallocating = preallocating(), True
    try:
        yield
    finally:
        _state.preallocating = before


def preallocating() -> bool:
    """Whether this thread is in a `preallocation`."""
    return getattr(_state, "preallocating", False)


def run(work: Any, weight: npt.NDArray[Any] | None = None, key: tuple[Any, ...] = ()) -> None:
    """Have all cores take the tiles of a `Work` of `_cpu`, which releases the interpreter lock; return at its end.

    In a `preallocation` its workspace is made, no more. Called from inside a body of `parallel_for`, it runs in that
    thread. Of a product that packs `weight` into its workspace, a `ConstantArray` keeps it, by `key`, for the next one.
    """
    shape = (work.workspace_bytes + 64,)
    made = weight.made if isinstance(weight, ConstantArray) and work.workspace_bytes and not preallocating() else None
    packed = made is not None and key in made
    if made is None:
        workspace = scratch("workspace", shape, np.uint8)
    else:
        workspace = made[key] if packed else main_memory(shape, np.uint8)
    if preallocating():
        return
    address = -(-workspace.ctypes.data // 64) * 64
    alone = getattr(_state, "busy", False)
    run_tiles = partial(work.run, address, packed)
    if alone or min(num_threads(), work.tiles) < 2:
        run_tiles()
    else:
        _together(run_tiles, run_tiles, min(num_threads(), work.tiles) - 1)
    if made is not None:
        made[key] = workspace


def _together(
    own: Callable[[], object], helping: Callable[[], object], helpers: int, give_up: Callable[[], object] = lambda: None
) -> None:
    """Do `own` here and `helping` in so many threads of the pool; return, or raise the first error, at the end of all.

    `give_up` has them end early.
    """
    begun: list[Future[object]] = []
    # A thread of the pool lets go of what it ran only some time after it said that it is done: it is handed a list, not
    # the work itself, whose arrays would live on with it.
    holder = [helping]
    try:
        begun.extend(_pool().submit(lambda: holder[0]()) for _ in range(helpers))
        own()
        _join(begun)
    except BaseException:
        give_up()  # also where Ctrl-C came while this thread waited: nobody may go on in the caller's arrays
        _join(begun)
        raise
    finally:
        holder.clear()
    for helper in begun:
        if not helper.cancelled():
            helper.result()


def _join(helpers: list[Future[object]]) -> None:
    # One that still waits for another caller's work has nothing to do here any more.
    wait([helper for helper in helpers if not helper.cancel()])


def scratch(name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An uninitialised array that belongs to the calling thread and is reused under the same name.

    Fresh memory costs a page fault every 4 KiB, which for the small blocks here would cost more than the arithmetic.
    """
    buffers: dict[str, npt.NDArray[np.uint8]] = _state.__dict__.setdefault("buffers", {})
    size = math.prod(shape) * np.dtype(dtype).itemsize
    buffer = buffers.get(name)
    if buffer is None or buffer.nbytes < size:
        buffer = buffers[name] = main_memory((size,), np.uint8)
    return buffer[:size].view(dtype).reshape(shape)


def elementwise(body: Callable[[slice], object], size: int, block: int = 131072) -> None:
    """Call ``body(slice)`` over ``range(size)`` in blocks that stay in cache, on all cores."""
    parallel_for(lambda i: body(slice(i * block, min(size, (i + 1) * block))), -(-size // block))
