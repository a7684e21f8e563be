"""Spreads independent blocks of NumPy work over the cores.

NumPy releases the interpreter lock inside its loops and BLAS calls, so plain threads suffice. BLAS itself is held to
one thread meanwhile: each worker keeps its own block in its own cache, and what is added in which order never depends
on the number of threads, so neither do the bits of a result.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt


@cache
def num_threads() -> int:
    """Worker threads: ``ALEXNET_CUDA_NUM_THREADS`` if set, else the cores this process may use."""
    text = os.environ.get("ALEXNET_CUDA_NUM_THREADS", "")
    if text:
        if not text.isdigit() or int(text) < 1:
            raise ValueError(f"ALEXNET_CUDA_NUM_THREADS must be a positive integer, got {text!r}")
        return int(text)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, num_threads() - 1), thread_name_prefix="alexnet-cpu")


@cache
def _blas() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


_state = threading.local()
_blas_lock = threading.Lock()
_blas_users = 0
_blas_limit: Any = None


def _enter_blas() -> None:
    global _blas_users, _blas_limit
    with _blas_lock:
        if _blas_users == 0:
            _blas_limit = _blas().limit(limits=1)
        _blas_users += 1


def _leave_blas() -> None:
    global _blas_users, _blas_limit
    with _blas_lock:
        _blas_users -= 1
        if _blas_users == 0:
            _blas_limit.restore_original_limits()
            _blas_limit = None


def parallel_for(body: Callable[[int], object], tasks: int) -> None:
    """Call ``body(i)`` for each ``i`` in ``range(tasks)``, in any order, on all cores; return when all are done.

    The first exception of a body is raised here, after the running bodies have ended. Called from inside a body, it
    runs in that thread.
    """
    if tasks <= 0:
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

    _enter_blas()
    try:
        helpers = [_pool().submit(work) for _ in range(min(num_threads(), tasks) - 1)]
        try:
            work()
        finally:
            wait(helpers)
        for helper in helpers:
            helper.result()
    finally:
        _leave_blas()


def scratch(name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An uninitialised array that belongs to the calling thread and is reused under the same name.

    Fresh memory costs a page fault every 4 KiB, which for the small blocks here would cost more than the arithmetic.
    """
    buffers: dict[str, npt.NDArray[np.uint8]] = _state.__dict__.setdefault("buffers", {})
    size = math.prod(shape) * np.dtype(dtype).itemsize
    buffer = buffers.get(name)
    if buffer is None or buffer.nbytes < size:
        buffer = buffers[name] = np.empty(size, np.uint8)
    return buffer[:size].view(dtype).reshape(shape)


def elementwise(body: Callable[[slice], object], size: int, block: int = 131072) -> None:
    """Call ``body(slice)`` over ``range(size)`` in blocks that stay in cache, on all cores."""
    parallel_for(lambda i: body(slice(i * block, min(size, (i + 1) * block))), -(-size // block))
