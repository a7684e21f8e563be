"""Kernels on a GPU: the extension `_cuda` on CuPy's arrays, memory pool and streams.

Of CuPy only memory, copies, streams, events and graphs are used, no computation: that would compile code at run time,
which needs a CUDA toolkit on the machine.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from ..runtime import Addresses, Array, Runtime


def extension() -> Any:
    """The extension `alexnet_cuda._cuda`.

    Raises
    ------
    RuntimeError
        The package was built without CUDA.
    """
    try:
        return sys.modules.get("alexnet_cuda._cuda") or importlib.import_module("alexnet_cuda._cuda")
    except ModuleNotFoundError as error:
        raise RuntimeError(
            "this installation of alexnet-cuda has no CUDA kernels; see `alexnet-cuda doctor` for how to build them"
        ) from error


_process: int | None = None  # in which this package began to use CUDA


def process_problem() -> str:
    """What keeps this process from using CUDA where it was forked from one that does; empty if nothing does."""
    if _process in (None, os.getpid()):
        return ""
    return (
        "CUDA does not work in a process that was forked from one that uses it; start processes by "
        "multiprocessing.get_context('spawn'), or leave CUDA to them alone"
    )


def check_process() -> None:
    """Note that CUDA is used from now on.

    Raises
    ------
    RuntimeError
        See `process_problem`.
    """
    global _process
    if problem := process_problem():
        raise RuntimeError(problem)
    _process = os.getpid()


def is_captured(stream: int) -> bool:
    """Whether the stream of an address is being captured.

    CUDA's legacy stream, 0 or 1, never is; to ask that is an error while some other stream is.
    """
    import cupy

    return stream not in (0, 1) and bool(cupy.cuda.runtime.streamIsCapturing(stream))


class CudaRuntime(Runtime):
    """Puts kernels on CuPy's current stream of the current device."""

    kind = "cuda"

    @property
    def module(self) -> Any:
        """The extension; see `extension`."""
        return extension()

    def addresses(self, arrays: dict[str, Array | None]) -> Addresses:
        """The device address of each array, 0 for None and for empty arrays.

        Raises
        ------
        ValueError
            An array that is not on the current device.
        TypeError
            An array that is on no device.
        """
        import cupy

        check_process()
        current, found = cupy.cuda.runtime.getDevice(), {}
        for name, array in arrays.items():
            if array is None:
                found[name] = 0
                continue
            if isinstance(array, np.ndarray):
                raise TypeError(f"{name} must be a CuPy array, got {type(array).__name__}")
            if array.device.id != current:
                raise ValueError(f"{name} is on cuda:{array.device.id}; expected cuda:{current}, the current device")
            found[name] = array.data.ptr if array.size else 0
        return found

    def empty(self, shape: tuple[int, ...] | int, dtype: Any) -> Array:
        """An uninitialised array of CuPy's pool, on the current device."""
        import cupy

        return cupy.empty(shape, dtype)

    def upload(self, target: Array, host: np.ndarray[Any, Any]) -> None:
        """Copy from the host, by way of the driver's own staging memory."""
        import cupy

        values = np.ascontiguousarray(host, target.dtype)
        to_device = cupy.cuda.runtime.memcpyHostToDevice
        cupy.cuda.runtime.memcpyAsync(target.data.ptr, values.ctypes.data, values.nbytes, to_device, self.stream())

    def recording(self) -> bool:
        """Whether the stream is being captured, by this package or by whoever chose it."""
        return is_captured(self.stream())

    def stream(self) -> int:
        """Address of the stream that kernels are put on."""
        import cupy

        return int(cupy.cuda.get_current_stream().ptr)

    def submit(self, work: Callable[..., object], arrays: tuple[Array | None, ...] = ()) -> None:
        """Launch on the stream."""
        work(stream=self.stream())


def default() -> CudaRuntime:
    """The runtime of arrays that belong to no device of a model."""
    return CudaRuntime()
