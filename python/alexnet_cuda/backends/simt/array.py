"""Arrays in the guarded memory of the CPU executor."""

from __future__ import annotations

import ctypes
import math
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt


class SimtArray(np.ndarray[Any, Any]):
    """A NumPy array whose memory lies between guard zones, so that a kernel's stray access is an error.

    Its type is what tells the operations to run their kernels on it; slices keep it.
    """


def empty(shape: tuple[int, ...] | int, dtype: npt.DTypeLike, label: str = "array") -> SimtArray:
    """An array of poison (NaN bit patterns) in a buffer of its own; `label` is what errors call it."""
    from alexnet_cuda import _simt

    shape = (shape,) if isinstance(shape, int) else shape
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size == 0:
        return np.empty(shape, dtype).view(SimtArray)
    address = _simt.allocate(bytes=size, label=label)
    memory = (ctypes.c_char * size).from_address(address)
    # The array keeps `memory` alive through its base; when both are gone, so is the buffer.
    weakref.finalize(memory, _simt.release, address=address)
    return np.ndarray(shape, dtype, memory).view(SimtArray)  # type: ignore[call-overload,no-any-return]


def array(values: npt.ArrayLike, label: str = "array") -> SimtArray:
    """A copy of `values` in a buffer of its own."""
    source = np.asarray(values)
    target = empty(source.shape, source.dtype, label)
    target[...] = source
    return target
