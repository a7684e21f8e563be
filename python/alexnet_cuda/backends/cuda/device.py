"""A GPU as a device: its memory, a stream of kernels, one of copies, and graphs of whole steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from ...precision import KERNEL_PRECISIONS
from ..kernels._runtime import Array, DeviceMemoryError, activated
from .runtime import CudaRuntime

# Larger arrays are copied by way of the driver's own staging memory: to pin so much of the host's takes longer.
_PINNED_BYTES = 64 << 20
# Steps whose inputs may be under way at once before the host waits for the oldest.
_COPIES_UNDER_WAY = 64


class CudaDevice(CudaRuntime):
    """A GPU; the interface is `CpuDevice`'s.

    Parameters
    ----------
    number : int
        As CUDA counts the devices.
    graphs : bool
        Whether `run` records its work as a CUDA graph and replays that.

    Raises
    ------
    RuntimeError
        No extension `_cuda`, no such GPU.
    """

    precisions = KERNEL_PRECISIONS
    fuses_update = True
    folds_input = True

    def __init__(self, number: int, graphs: bool = True) -> None:
        import cupy

        self.name, self.number, self.graphs = f"cuda:{number}", number, graphs
        count = self.module.device_count()
        if number >= count:
            raise ValueError(f"there is no device {self.name!r}; this machine has {count} GPU{'s' * (count != 1)}")
        self.allocations = 0
        self._cupy, self._runtime = cupy, cupy.cuda.runtime
        with cupy.cuda.Device(number):
            # Non-blocking: they do not wait for whatever others put on the default stream.
            self._kernels = cupy.cuda.Stream(non_blocking=True)
            self._copies = cupy.cuda.Stream(non_blocking=True)
        self._workspace: Array | None = None
        self._under_way: deque[tuple[Any, Any]] = deque()  # an event, and the pinned memory that is free after it
        self._ready: dict[tuple[Any, ...], int] = {}  # allocations after the last run of a key, graphs not counted
        self._graphs: dict[tuple[Any, ...], tuple[int, Any]] = {}

    @contextmanager
    def active(self) -> Iterator[None]:
        """A context in which operations run on this device's stream of kernels."""
        with self._cupy.cuda.Device(self.number), self._kernels, activated(self):
            yield

    def stream(self) -> int:
        """Address of the stream of kernels."""
        return int(self._kernels.ptr)

    def empty(self, shape: tuple[int, ...] | int, dtype: npt.DTypeLike) -> Array:
        """An uninitialised array of CuPy's pool.

        Raises
        ------
        DeviceMemoryError
            No room.
        """
        self.allocations += 1
        with self.active():
            try:
                return self._cupy.empty(shape, dtype)
            except self._cupy.cuda.memory.OutOfMemoryError as error:
                raise DeviceMemoryError(str(error)) from error

    def workspace(self, size: int) -> Array | None:
        """So many bytes, the same for every kernel: those of a stream do not overlap."""
        if size and (self._workspace is None or self._workspace.size < size):
            self._workspace = None
            self._workspace = self.empty(size, np.uint8)
        return self._workspace if size else None

    def zero(self, array: Array) -> None:
        """Fill with zeros."""
        self._runtime.memsetAsync(array.data.ptr, 0, array.nbytes, self.stream())

    def upload(self, target: Array, host: npt.NDArray[Any]) -> None:
        """Copy from the host without waiting; `host` may be changed as soon as this returns."""
        with self.active():
            if not 0 < target.nbytes <= _PINNED_BYTES:
                super().upload(target, host)
                return
            pinned = self._cupy.cuda.alloc_pinned_memory(target.nbytes)
            staged = np.frombuffer(pinned, target.dtype, target.size).reshape(target.shape)
            np.copyto(staged, host, casting="unsafe")
            to_device = self._runtime.memcpyHostToDevice
            self._runtime.memcpyAsync(target.data.ptr, staged.ctypes.data, target.nbytes, to_device, self.stream())
            self._keep(pinned)

    def _keep(self, pinned: Any) -> Any:
        """Hold memory that a copy works on until it is done; returns the event of that."""
        while self._under_way and (self._under_way[0][0].done or len(self._under_way) >= _COPIES_UNDER_WAY):
            self._under_way.popleft()[0].synchronize()
        event = self.record()
        self._under_way.append((event, pinned))
        return event

    def download(self, array: Array) -> npt.NDArray[Any]:
        """A copy on the host, when all work so far is done."""
        host = np.empty(array.shape, array.dtype)
        with self.active():
            to_host = self._runtime.memcpyDeviceToHost
            if host.nbytes:
                self._runtime.memcpyAsync(host.ctypes.data, array.data.ptr, host.nbytes, to_host, self.stream())
            self._kernels.synchronize()
        return host

    def fetch(self, arrays: Sequence[Array]) -> Callable[[], list[npt.NDArray[Any]]]:
        """Begin to copy to the host what the arrays hold when the work so far is done; the result waits for it."""
        copies = []
        with self.active():
            to_host = self._runtime.memcpyDeviceToHost
            memory = [self._cupy.cuda.alloc_pinned_memory(max(1, array.nbytes)) for array in arrays]
            for array, pinned in zip(arrays, memory, strict=True):
                host = np.frombuffer(pinned, array.dtype, array.size).reshape(array.shape)
                self._runtime.memcpyAsync(host.ctypes.data, array.data.ptr, array.nbytes, to_host, self.stream())
                copies.append(host)
            event = self._keep(memory)

        def result() -> list[npt.NDArray[Any]]:
            event.synchronize()
            return copies

        return result

    def adopt(self, array: Any) -> Array | None:
        """A CuPy array on this device as it is; None where it is elsewhere.

        Kernels wait for what CuPy's current stream still has to do, which is its owner's: not to be called while this
        device is active.
        """
        if type(array).__module__.partition(".")[0] != "cupy" or array.device.id != self.number:
            return None
        with self._cupy.cuda.Device(self.number):
            theirs = self._cupy.cuda.get_current_stream()
            self.wait(theirs.record(self._cupy.cuda.Event(disable_timing=True)))
        return array

    def copy(self, target: Array, source: Array) -> None:
        """Copy within this device."""
        within = self._runtime.memcpyDeviceToDevice
        self._runtime.memcpyAsync(target.data.ptr, source.data.ptr, target.nbytes, within, self.stream())

    def run(self, key: tuple[Any, ...], body: Callable[[], None]) -> None:
        """Do a step's work: once as it is; then, unless that made new arrays, recorded as a graph; then that again.

        The work may not depend on anything but what `key` holds and what lies in device memory.
        """
        if not self.graphs:
            body()
            return
        made, graph = self._graphs.get(key, (-1, None))
        if made != self.allocations:
            if self._ready.get(key) != self.allocations:
                body()
                self._ready[key] = self.allocations
                return
            graph = self._capture(body)
            self._graphs[key] = self.allocations, graph
        with self.active():
            graph.launch(self._kernels)

    def _capture(self, body: Callable[[], None]) -> Any:
        with self.active():
            # In this thread only: another one may allocate meanwhile.
            self._kernels.begin_capture(self._runtime.streamCaptureModeThreadLocal)
            try:
                body()
            finally:
                graph = self._kernels.end_capture()
        return graph

    def record(self) -> Any:
        """A mark after the work so far, on the stream of kernels."""
        with self._cupy.cuda.Device(self.number):
            return self._kernels.record(self._cupy.cuda.Event(disable_timing=True))

    def wait(self, event: Any) -> None:
        """Let later kernels begin only after the mark."""
        self._kernels.wait_event(event)

    def send(self, target: Array, source: Array, after: Sequence[Any]) -> Any:
        """Copy to another device on the stream of copies, directly where the two can reach each other."""
        for event in after:
            self._copies.wait_event(event)
        with self._cupy.cuda.Device(self.number):
            ends = (target.data.ptr, target.device.id, source.data.ptr, source.device.id)
            self._runtime.memcpyPeerAsync(*ends, source.nbytes, self._copies.ptr)
            return self._copies.record(self._cupy.cuda.Event(disable_timing=True))

    def enable_peer(self, peer: CudaDevice) -> bool:
        """Have copies to a peer go directly; False where they cannot and the driver goes by way of the host."""
        if peer.number == self.number:
            return True
        if not self._runtime.deviceCanAccessPeer(self.number, peer.number):
            return False
        with self._cupy.cuda.Device(self.number):
            try:
                self._runtime.deviceEnablePeerAccess(peer.number)
            except self._runtime.CUDARuntimeError as error:
                if "AlreadyEnabled" not in str(error):
                    raise
        return True

    def memory(self) -> tuple[int, int] | None:
        """Bytes free, those that CuPy's pool keeps for later among them, and in all."""
        with self.active():
            free, total = self._runtime.memGetInfo()
            return free + self._cupy.get_default_memory_pool().free_bytes(), total
