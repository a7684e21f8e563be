"""Kernels on the CPU executor, each at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..runtime import Addresses, Array, Runtime
from .memory import SimtArray, allocate, extension
from .streams import executor_lock


class SimtRuntime(Runtime):
    """Runs a kernel when it is submitted; errors of the executor are RuntimeErrors of the call."""

    kind = "simt"

    @property
    def module(self) -> Any:
        """The extension `alexnet_cuda._simt`."""
        return extension()

    def addresses(self, arrays: dict[str, Array | None]) -> Addresses:
        """The address of each array, 0 for None and for empty ones.

        Raises
        ------
        TypeError
            An array that is not in the executor's memory.
        """
        for name, array in arrays.items():
            if array is not None and not isinstance(array, SimtArray):
                raise TypeError(f"{name} must be in the CPU executor's memory, got {type(array).__name__}")
        return {n: 0 if a is None or a.size == 0 else a.ctypes.data for n, a in arrays.items()}

    def empty(self, shape: tuple[int, ...] | int, dtype: Any) -> SimtArray:
        """A poisoned array."""
        return allocate(shape, dtype)

    def upload(self, target: Array, host: np.ndarray[Any, Any]) -> None:
        """Copy from the host."""
        target[...] = host

    def submit(self, work: Callable[..., object], arrays: tuple[Array | None, ...] = ()) -> None:
        """Do the work."""
        with executor_lock:
            work(stream=0)


def default() -> SimtRuntime:
    """The runtime of arrays that belong to no device."""
    return SimtRuntime()
