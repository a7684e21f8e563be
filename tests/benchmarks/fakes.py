"""A device that is a clock: every replay takes the time it is told to, so timing is exact and repeatable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cupy
import numpy as np
from benchmarks.harness.cases import Tensor
from benchmarks.harness.device import Captured
from benchmarks.harness.host import HostDevice
from benchmarks.harness.values import numpy_dtype

from alexnet_cuda.backends.simt.memory import allocate


class FakeDevice(HostDevice):
    """Arrays of the host, time of its own. `spend` is what a fake kernel calls."""

    def __init__(self) -> None:
        self.time = 0.0
        self.lost = False
        self.captures = 0

    def spend(self, seconds: float) -> None:
        self.time += seconds

    def record(self) -> float:
        return self.time

    def now(self) -> float:
        return self.time

    def synchronize(self) -> None:
        if self.lost:
            raise RuntimeError("cudaErrorIllegalAddress")

    def capture(self, function: Callable[[], Any]) -> Captured:
        self.captures += 1
        function()
        dot = 'label="{KERNEL\n| {ID | 0 (topoId: 3) | fake\\<\\<\\<1,1,0\\>\\>\\>}\n'
        return Captured(function, lambda: dot)


class ExecutorDevice(HostDevice):
    """Arrays of the CPU executor, so that our operations run their kernels on them; memory for one set."""

    def free_bytes(self) -> int:
        return 0

    def empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        return allocate(shape, numpy_dtype(dtype))

    def upload(self, host: np.ndarray) -> Any:
        array = allocate(host.shape, host.dtype)
        array[...] = host
        return array

    def scalar(self, value: float) -> Any:
        return self.upload(np.array([value], np.float32))

    def download(self, array: Any) -> np.ndarray:
        return np.array(array)


class StandInDevice(ExecutorDevice):
    """CuPy arrays of the tests' stand-in driver, of no values."""

    def empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        return cupy.empty(shape, numpy_dtype(dtype))

    def upload(self, host: np.ndarray) -> Any:
        return cupy.empty(host.shape, host.dtype)

    def fill(self, array: Any, name: str, tensor: Tensor, set_index: int) -> None:
        pass
