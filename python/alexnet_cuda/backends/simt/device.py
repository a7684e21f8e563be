"""The CPU executor as a device: its own memory, a stream of kernels and one of copies."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import numpy.typing as npt

from ...base.array import DeviceMemoryError, PinnedArray
from ...base.precision import KERNEL_PRECISIONS
from ..runtime import Addresses, Array, activated
from .memory import SimtArray, allocate, to_host
from .runtime import SimtRuntime
from .streams import Event, Scheduler

# One for all devices: they wait for each other's events.
scheduler = Scheduler()


class SimtDevice(SimtRuntime):
    """A GPU as the CPU executor plays it; see `alexnet_cuda.backends.protocol.Device`.

    Parameters
    ----------
    name : str
    memory_limit : int, optional
        Bytes that it has.
    """

    precisions: tuple[str, ...] = KERNEL_PRECISIONS
    folds_input = True
    graphs = True

    def __init__(self, name: str = "simt", memory_limit: int | None = None) -> None:
        self.name, self.memory_limit = name, memory_limit
        self.allocations = 0
        self.allocated_bytes = 0
        self._kernels, self._copies, self._arrivals = (scheduler.stream(copies) for copies in (False, True, True))
        self._workspace: SimtArray | None = None

    def active(self) -> AbstractContextManager[None]:
        return activated(self)

    def addresses(self, arrays: dict[str, Array | None]) -> Addresses:
        """As the base class; a ValueError also for an array of another device."""
        for name, array in arrays.items():
            owner = getattr(array, "device", None)
            if owner is not None and owner is not self:
                raise ValueError(f"{name} is on another device, {owner.name}; expected this one, {self.name}")
        return super().addresses(arrays)

    def empty(self, shape: tuple[int, ...] | int, dtype: npt.DTypeLike) -> SimtArray:
        """A poisoned array.

        Raises
        ------
        DeviceMemoryError
            More than the limit.
        """
        self.allocations += 1
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        if self.memory_limit is not None and self.allocated_bytes + size > self.memory_limit:
            raise DeviceMemoryError(f"{self.name} has no {size} bytes left")
        array = self._make(shape, dtype)
        array.device = self
        self.allocated_bytes += size
        weakref.finalize(array.base, self._forget, size)
        return array

    def _make(self, shape: tuple[int, ...] | int, dtype: npt.DTypeLike) -> SimtArray:
        return allocate(shape, dtype)

    def _forget(self, size: int) -> None:
        self.allocated_bytes -= size

    def workspace(self, size: int) -> SimtArray | None:
        """So many bytes, the same for every kernel: those of a stream do not overlap."""
        if size and (self._workspace is None or self._workspace.size < size):
            self._workspace = None
            self._workspace = self.empty(size, np.uint8)
        return self._workspace if size else None

    def submit(self, work: Callable[..., object], arrays: tuple[Array | None, ...] = ()) -> None:
        """Put work on the stream of kernels."""

        def launch(_kept: object = arrays) -> None:
            work(stream=0)

        self._kernels.put(launch)

    def zero(self, array: SimtArray) -> None:
        if not self.preallocating:
            self._kernels.put(lambda: array.fill(0))

    def upload(self, target: SimtArray, host: npt.NDArray[Any]) -> None:
        values = np.array(host).astype(target.dtype, copy=False)
        if not self.preallocating:
            self._kernels.put(lambda: np.copyto(target, values))

    def pinned(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> PinnedArray:
        return np.empty(shape, dtype).view(PinnedArray)

    def bring(self, target: SimtArray, host: PinnedArray, after: Event) -> None:
        if not self.preallocating:
            self._arrivals.wait(after)
            self._arrivals.put(lambda: np.copyto(target, host))
            self.wait(self._arrivals.record())

    def download(self, array: SimtArray) -> npt.NDArray[Any]:
        self._kernels.synchronize()
        return to_host(array)

    def fetch(self, array: SimtArray) -> Callable[[], npt.NDArray[Any]]:
        copies: list[npt.NDArray[Any]] = []
        self._kernels.put(lambda: copies.append(to_host(array)))
        done = self.record()

        def result() -> npt.NDArray[Any]:
            self._kernels.synchronize(done)
            return copies[0]

        return result

    def adopt(self, array: Any) -> SimtArray | None:
        """An array of the executor's memory as it is, None for any other."""
        return array if isinstance(array, SimtArray) and array.device in (None, self) else None

    def copy(self, target: SimtArray, source: SimtArray) -> None:
        if not self.preallocating:
            self._kernels.put(lambda: np.copyto(target, source))

    def await_owner(self) -> None:
        pass

    def hand_back(self, arrays: Sequence[SimtArray], mark: Event) -> None:
        """Nothing: who changes an adopted array on the host has to wait for a result first."""

    def run(self, key: tuple[Any, ...], body: Callable[[], object], *others: SimtDevice) -> None:
        body()

    def record(self) -> Event:
        return self._kernels.record()

    def wait(self, mark: Event) -> None:
        self._kernels.wait(mark)

    def send(self, target: SimtArray, source: SimtArray, after: Sequence[Event]) -> Event:
        """The target is NaN from when the copy may begin."""
        if self.preallocating:
            return self.record()
        for event in after:
            self._copies.wait(event)
        self._copies.put(lambda: target.view(np.uint8).fill(255))
        self._copies.put(lambda: np.copyto(target, source))
        return self._copies.record()

    def enable_peer(self, peer: SimtDevice) -> bool:
        return True

    def memory(self) -> tuple[int, int] | None:
        return None if self.memory_limit is None else (self.memory_limit - self.allocated_bytes, self.memory_limit)
