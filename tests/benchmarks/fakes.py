"""Devices that stand in for the GPU: a clock, the CPU executor, the tests' stand-in for the driver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cupy
import numpy as np
from benchmarks.harness.cases import Tensor, numbers
from benchmarks.harness.device import Captured

from alexnet_cuda.backends.simt.memory import allocate


class Addressed(np.ndarray):
    """A host array that says where it is as CuPy's do."""

    @property
    def data(self) -> Any:  # type: ignore[override]
        return type("Pointer", (), {"ptr": self.ctypes.data})


class FakeDevice:
    """Arrays of the host, time of its own: `spend` is what a fake kernel calls. Timing is exact and repeatable."""

    host = True
    cache_bytes = 1 << 20
    machine = {"multiprocessors": 7, "multiprocessor_bytes": 100 * 1024}  # noqa: RUF012

    def __init__(self) -> None:
        self.time, self.lost = 0.0, False
        self.closed: list[str] = []

    def spend(self, seconds: float) -> None:
        self.time += seconds

    def free_bytes(self) -> int:
        return 1 << 30

    def record(self) -> float:
        return self.time

    now = record

    def elapsed(self, first: float, last: float) -> float:
        return last - first

    def synchronize(self) -> None:
        if self.lost:
            raise RuntimeError("cudaErrorIllegalAddress")

    def release(self) -> None:
        pass

    def stream(self) -> int:
        return 0

    def capture(self, function: Callable[[], Any]) -> Captured:
        function()
        dot = 'label="{KERNEL\n| {ID | 0 (topoId: 3) | fake\\<\\<\\<1,1,0\\>\\>\\>}\n'
        return Captured(function, lambda: dot)

    def empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        return np.empty(shape, dtype)

    def upload(self, host: np.ndarray) -> Any:
        array = self.empty(host.shape, host.dtype.name)
        array[...] = host
        return array

    def download(self, array: Any) -> np.ndarray:
        return np.array(array)

    def poison(self, array: Any) -> None:
        array.reshape(-1).view(np.uint8)[...] = 255

    def clear(self, array: Any) -> None:
        array.reshape(-1).view(np.uint8)[...] = 0

    def fill(self, array: Any, name: str, tensor: Tensor, set_index: int) -> None:
        array[...] = numbers(name, tensor, set_index)


class AddressedDevice(FakeDevice):
    def empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        return super().empty(shape, dtype).view(Addressed)


class ExecutorDevice(FakeDevice):
    """Arrays of the CPU executor, so that our operations run their kernels on them; memory for one set."""

    def free_bytes(self) -> int:
        return 0

    def empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        return allocate(shape, np.dtype(dtype))


class StandInDevice(ExecutorDevice):
    """CuPy arrays of the tests' stand-in driver, of no values."""

    def empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        return cupy.empty(shape, np.dtype(dtype))

    def upload(self, host: np.ndarray) -> Any:
        return cupy.empty(host.shape, host.dtype)

    def fill(self, array: Any, name: str, tensor: Tensor, set_index: int) -> None:
        pass
