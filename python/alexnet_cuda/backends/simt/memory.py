"""Arrays in memory of the CPU executor: NumPy arrays, poisoned with NaN at first, between guard zones."""

from __future__ import annotations

import ctypes
import math
import os
import weakref
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ...base.locks import late_import
from ...base.parallel import num_threads

_MOST_THREADS = 16  # each keeps a thousand stacks


@cache
def extension() -> Any:
    """The extension `alexnet_cuda._simt`, told how many threads to run blocks with."""
    module = late_import("alexnet_cuda._simt")
    if not os.environ.get("ALEXNET_CUDA_SIMT_THREADS"):
        module.set_thread_count(count=min(num_threads(), _MOST_THREADS))
    return module


class SimtArray(np.ndarray[Any, Any]):
    """A NumPy array whose operations `alexnet_cuda.ops` runs by the kernels.

    Views of it are such arrays too. What NumPy computes from it is a plain array: it lies outside the executor's
    memory, and no kernel could be checked on it.

    Attributes
    ----------
    device : object or None
        Whose memory it is, where that matters: two towers must not read each other's.
    """

    backend = "simt"
    device: Any = None

    def __array_finalize__(self, source: Any) -> None:
        self.device = getattr(source, "device", None)

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        plain = np.asarray(array).view(np.ndarray)
        return plain[()] if return_scalar else plain


def allocate(shape: tuple[int, ...] | int, dtype: npt.DTypeLike, label: str = "") -> SimtArray:
    """An array in the executor's memory, every byte of it 255: NaN in every floating-point format."""
    shape = (shape,) if isinstance(shape, int) else shape
    size = math.prod(shape) * np.dtype(dtype).itemsize
    address = extension().allocate(bytes=size, label=label)
    memory = (ctypes.c_char * size).from_address(address)
    weakref.finalize(memory, extension().release, address=address)
    return as_simt_array(memory, shape, dtype)


def as_simt_array(memory: Any, shape: tuple[int, ...] | int, dtype: npt.DTypeLike) -> SimtArray:
    """Memory as an array of it."""
    array: SimtArray = np.ndarray.__new__(SimtArray, shape, dtype, memory)
    return array


def to_simt(host: npt.ArrayLike, label: str = "") -> SimtArray:
    """A copy of `host` in the executor's memory."""
    values = np.asarray(host)
    array = allocate(values.shape, values.dtype, label)
    array[...] = values
    return array


def to_host(array: SimtArray) -> npt.NDArray[Any]:
    """A copy of `array` as a plain NumPy array."""
    return np.array(array, copy=True, subok=False)
