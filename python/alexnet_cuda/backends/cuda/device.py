"""A GPU as a device: its memory, streams of kernels, of copies and of arrivals, and graphs of whole steps."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from ...precision import KERNEL_PRECISIONS
from ..kernels._runtime import Array, DeviceMemoryError, PinnedArray, activated
from .runtime import CudaRuntime, check_process, process_problem

# Copies to the device go by way of pinned memory in pieces of at most so much, which CuPy's pool keeps for the next.
_PINNED_BYTES = 64 << 20
# Copies that may be under way at once, a few a step, before the host waits for the oldest.
_COPIES_UNDER_WAY = 64
# Batches that may be on their way from pinned memory at once.
_BATCHES_UNDER_WAY = 8
# Graphs that are kept: one for each size of batch and set of rates.
_GRAPHS = 8


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
        No extension `_cuda`, no driver, or no CuPy.
    ValueError
        No such GPU.
    """

    precisions = KERNEL_PRECISIONS
    fuses_update = True
    folds_input = True

    def __init__(self, number: int, graphs: bool = True) -> None:
        self.name, self.number, self.graphs = f"cuda:{number}", number, graphs
        if problem := process_problem():
            raise RuntimeError(problem)
        count = self.module.device_count()
        try:
            import cupy
        except ImportError as error:
            raise RuntimeError(f"device {self.name!r} needs CuPy ({error}); see `alexnet-cuda doctor`") from error
        if number >= count:
            raise ValueError(f"there is no device {self.name!r}; this machine has {count} GPU{'s' * (count != 1)}")
        self.allocations = 0
        self._cupy, self._runtime = cupy, cupy.cuda.runtime
        with cupy.cuda.Device(number):
            # Non-blocking: they do not wait for whatever others put on the default stream.
            self._kernels = cupy.cuda.Stream(non_blocking=True)
            self._copies = cupy.cuda.Stream(non_blocking=True)
            self._arrivals = cupy.cuda.Stream(non_blocking=True)
        self._workspace: Array | None = None
        self._under_way: deque[tuple[Any, Any]] = deque()  # an event, and the pinned memory that is free after it
        self._arriving: deque[tuple[Any, PinnedArray]] = deque()  # the same, on the stream of arrivals
        self._graphs: dict[tuple[Any, ...], Any] = {}  # None: run once without making arrays, so it can be recorded
        self._graphs_made = 0  # allocations that their addresses are good for

    @contextmanager
    def active(self) -> Iterator[None]:
        """A context in which operations run on this device's stream of kernels."""
        check_process()
        with self._cupy.cuda.Device(self.number):
            # Not `with self._kernels`: leaving that, CuPy forgets a stream that the user chose with .use().
            before = self._cupy.cuda.get_current_stream()
            self._kernels.use()
            try:
                with activated(self):
                    yield
            finally:
                before.use()

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
        if self.rehearsing:
            return
        self._runtime.memsetAsync(array.data.ptr, 0, array.nbytes, self.stream())

    def upload(self, target: Array, host: npt.NDArray[Any]) -> None:
        """Copy from the host without waiting; `host` may be changed as soon as this returns."""
        if self.rehearsing:
            return
        values, piece = np.ravel(host), _PINNED_BYTES // target.itemsize
        with self.active():
            for first in range(0, target.size, piece):
                part = values[first : first + piece]
                pinned = self._cupy.cuda.alloc_pinned_memory(part.size * target.itemsize)
                staged = np.frombuffer(pinned, target.dtype, part.size)
                np.copyto(staged, part, casting="unsafe")
                to, kind = target.data.ptr + first * target.itemsize, self._runtime.memcpyHostToDevice
                self._runtime.memcpyAsync(to, staged.ctypes.data, staged.nbytes, kind, self.stream())
                self._keep(pinned)

    def _keep(self, pinned: Any) -> Any:
        """Hold memory that a copy works on until it is done; returns the event of that."""
        while self._under_way and (self._under_way[0][0].done or len(self._under_way) >= _COPIES_UNDER_WAY):
            self._under_way.popleft()[0].synchronize()
        event = self.record()
        self._under_way.append((event, pinned))
        return event

    def pinned(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> PinnedArray:
        """Host memory for `bring`, from CuPy's pool: to be had again once neither its user nor a copy holds it."""
        check_process()
        size = math.prod(shape)
        with self._cupy.cuda.Device(self.number):
            memory = self._cupy.cuda.alloc_pinned_memory(max(1, size * np.dtype(dtype).itemsize))
        return np.frombuffer(memory, dtype, size).reshape(shape).view(PinnedArray)

    def bring(self, target: Array, host: PinnedArray, after: Any) -> None:
        """Copy from pinned memory beside the kernels, once the mark is reached; later kernels find it."""
        if self.rehearsing:
            return
        event = None
        while self._arriving and (self._arriving[0][0].done or len(self._arriving) >= _BATCHES_UNDER_WAY):
            event, _ = self._arriving.popleft()
            event.synchronize()
        with self._cupy.cuda.Device(self.number):
            self._arrivals.wait_event(after)
            to_device = self._runtime.memcpyHostToDevice
            self._runtime.memcpyAsync(target.data.ptr, host.ctypes.data, host.nbytes, to_device, self._arrivals.ptr)
            event = self._arrivals.record(event or self._cupy.cuda.Event(disable_timing=True))
        self.wait(event)
        self._arriving.append((event, host))

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
            check_process()
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
        check_process()
        with self._cupy.cuda.Device(self.number):
            theirs = self._cupy.cuda.get_current_stream()
            self.wait(theirs.record(self._cupy.cuda.Event(disable_timing=True)))
        return array

    def hand_back(self, array: Array, event: Any) -> None:
        """Give an adopted array back: what its owner's current stream does from now on comes after the mark.

        The array is kept until then, in case that it is freed to another stream.
        """
        with self._cupy.cuda.Device(self.number):
            self._cupy.cuda.get_current_stream().wait_event(event)
        self._under_way.append((event, array))

    def copy(self, target: Array, source: Array) -> None:
        """Copy within this device; both are C-contiguous."""
        if self.rehearsing:
            return
        within = self._runtime.memcpyDeviceToDevice
        self._runtime.memcpyAsync(target.data.ptr, source.data.ptr, target.nbytes, within, self.stream())

    def run(self, key: tuple[Any, ...], body: Callable[[], None]) -> None:
        """Do a step's work: once as it is; then recorded as a graph; then that again, until some array was made anew.

        The work may not depend on anything but what `key` holds and what lies in device memory.
        """
        if not self.graphs:
            body()
            return
        if self._graphs_made != self.allocations:
            self._graphs.clear()  # their addresses may be others' by now
        if key not in self._graphs:
            body()
            while len(self._graphs) >= _GRAPHS:
                del self._graphs[next(iter(self._graphs))]
            self._graphs[key], self._graphs_made = None, self.allocations
            return
        if self._graphs[key] is None:
            self._graphs[key] = self._capture(body)
        with self.active():
            self._graphs[key].launch(self._kernels)

    def _capture(self, body: Callable[[], None]) -> Any:
        with self.active():
            # In this thread only: another one may allocate meanwhile.
            self._kernels.begin_capture(self._runtime.streamCaptureModeThreadLocal)
            try:
                body()
            except BaseException:
                # Its own error would hide the one that broke the recording.
                with suppress(self._runtime.CUDARuntimeError):
                    self._kernels.end_capture()
                raise
            return self._kernels.end_capture()

    def record(self) -> Any:
        """A mark after the work so far, on the stream of kernels."""
        with self._cupy.cuda.Device(self.number):
            return self._kernels.record(self._cupy.cuda.Event(disable_timing=True))

    def wait(self, event: Any) -> None:
        """Let later kernels begin only after the mark."""
        self._kernels.wait_event(event)

    def send(self, target: Array, source: Array, after: Sequence[Any]) -> Any:
        """Copy to another device on the stream of copies, directly where the two can reach each other."""
        if self.rehearsing:
            return self.record()
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
