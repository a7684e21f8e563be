"""Arrays: where they are, and memory that both host and GPU read."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = Any  # a NumPy array, a SimtArray or a CuPy array


def is_cupy(array: Any) -> bool:
    """Whether it is an array of CuPy, which need not be imported to know."""
    return type(array).__module__.partition(".")[0] == "cupy"


def array_kind(array: Array) -> str:
    """``cpu``, ``cuda`` or ``simt``: where an array is.

    Raises
    ------
    TypeError
        Something that is no array of these.
    """
    if isinstance(array, np.ndarray):
        return getattr(array, "backend", "cpu")
    if is_cupy(array):
        return "cuda"
    raise TypeError(f"expected a NumPy or CuPy array, got {type(array).__name__}")


class PinnedArray(np.ndarray[Any, Any]):
    """Host memory that a GPU reads by itself; what lies there to be copied is read-only, so that nobody changes it."""


def is_staged(array: Array) -> bool:
    """Whether an array is such memory, filled. What NumPy computes from it is writable, and no pinned memory."""
    return isinstance(array, PinnedArray) and not array.flags.writeable


class ConstantArray(np.ndarray[Any, Any]):
    """Main memory that stays as it is while this view of it is used: operations may keep what they make of it."""

    made: dict[Any, Any] | None = None  # None: of a part of one, or what was computed from one


def constant(array: Array) -> Array:
    """The array as a `ConstantArray` of which nothing is made yet; one that is elsewhere as it is."""
    if array_kind(array) != "cpu":
        return array
    marked = array.view(ConstantArray)
    marked.made = {}
    return marked


class DeviceMemoryError(MemoryError):
    """A device has no room for an array."""


def main_memory(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An uninitialised array; a DeviceMemoryError where there is no room."""
    try:
        return np.empty(shape, dtype)
    except MemoryError as error:
        raise DeviceMemoryError(str(error)) from error
