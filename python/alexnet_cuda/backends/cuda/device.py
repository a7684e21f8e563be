"""A GPU as a device: its memory, streams of kernels, of copies and of arrivals, and graphs of whole passes."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt

from ...base.array import DeviceMemoryError, PinnedArray, is_cupy
from ...base.precision import KERNEL_PRECISIONS
from ..runtime import Array, activated, active_runtime, active_runtimes
from .graphs import Graphs
from .runtime import CudaRuntime, check_process, is_captured

# Copies to the device go by way of pinned memory in pieces of at most so much, which CuPy's pool keeps for the next.
_PINNED_BYTES = 64 << 20
# Copies that may be under way at once, a few a step, before the host waits for the oldest.
_COPIES_UNDER_WAY = 64
_AS_IT_IS = nullcontext()
# Batches that may be on their way from pinned memory at once.
_BATCHES_UNDER_WAY = 3


class _Activated(activated):
    """As the base class, with a device and its stream of kernels as CuPy's current ones."""

    def __init__(self, device: CudaDevice, cuda: Any) -> None:
        super().__init__(device)
        self._device, self._cuda, self._there = device, cuda, cuda.Device(device.number)

    def __enter__(self) -> None:
        check_process()
        self._there.__enter__()
        try:
            # Not `with stream`: leaving that, CuPy forgets a stream that the user chose with .use().
            self._before, self._outer = self._cuda.get_current_stream(), self._device.users_stream
            if active_runtime() is None and is_captured(self._before.ptr):
                raise RuntimeError(
                    "CuPy's current stream is being captured, and what a model does cannot be part of another's graph: "
                    "end the capture first; a model records its own graphs"
                )
        except BaseException:
            self._there.__exit__(None, None, None)
            raise
        self._device.users_stream = self._outer or self._before
        self._device.streams[0].use()
        super().__enter__()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._device.users_stream = self._outer
        self._before.use()
        self._there.__exit__(*error)


class CudaDevice(CudaRuntime):
    """A GPU; see `alexnet_cuda.backends.protocol.Device`.

    Parameters
    ----------
    number : int
        As CUDA counts the devices.
    graphs : bool
        Whether `run` records its work as a CUDA graph and replays that.

    Attributes
    ----------
    streams : two of CuPy's
        Of kernels and of copies.
    users_stream : CuPy's or None
        While the device is active: CuPy's current stream there before that.

    Raises
    ------
    RuntimeError
        No extension `_cuda`, no driver, or no CuPy.
    ValueError
        No such GPU.
    """

    precisions: tuple[str, ...] = KERNEL_PRECISIONS
    folds_input = True

    def __init__(self, number: int, graphs: bool = True) -> None:
        self.name, self.number, self.graphs = f"cuda:{number}", number, graphs
        check_process()
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
            # For marks that are waited for at once: a wait keeps what was recorded when it was called.
            self._passing = cupy.cuda.Event(disable_timing=True)
        self.streams, self.users_stream = (self._kernels, self._copies), None
        self._address = int(self._kernels.ptr)
        self._workspace: Array | None = None
        self._under_way: deque[tuple[Any, Any]] = deque()  # an event, and the pinned memory that is free after it
        self._arriving: deque[tuple[Any, PinnedArray]] = deque()  # the same, on the stream of arrivals
        self._graphs: dict[tuple[CudaDevice, ...], Graphs | None] = {}  # by the other devices that have a part in them
        self._direct = {number}  # devices that copies go to directly

    def active(self) -> AbstractContextManager[None]:
        return _AS_IT_IS if active_runtime() is self else _Activated(self, self._cupy.cuda)

    def stream(self) -> int:
        """Address of the stream of kernels."""
        return self._address

    def empty(self, shape: tuple[int, ...] | int, dtype: npt.DTypeLike) -> Array:
        """Of CuPy's pool."""
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
        if self.preallocating:
            return
        self._runtime.memsetAsync(array.data.ptr, 0, array.nbytes, self.stream())

    def upload(self, target: Array, host: npt.NDArray[Any]) -> None:
        if self.preallocating:
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
        """From CuPy's pool: to be had again once neither its user nor a copy holds it."""
        check_process()
        size = math.prod(shape)
        with self._cupy.cuda.Device(self.number):
            memory = self._cupy.cuda.alloc_pinned_memory(max(1, size * np.dtype(dtype).itemsize))
        return np.frombuffer(memory, dtype, size).reshape(shape).view(PinnedArray)

    def bring(self, target: Array, host: PinnedArray, after: Any) -> None:
        if self.preallocating:
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
        host = np.empty(array.shape, array.dtype)
        with self.active():
            to_host = self._runtime.memcpyDeviceToHost
            if host.nbytes:
                self._runtime.memcpyAsync(host.ctypes.data, array.data.ptr, host.nbytes, to_host, self.stream())
            self._kernels.synchronize()
        return host

    def fetch(self, array: Array) -> Callable[[], npt.NDArray[Any]]:
        with self.active():
            pinned = self._cupy.cuda.alloc_pinned_memory(max(1, array.nbytes))
            host: npt.NDArray[Any] = np.frombuffer(pinned, array.dtype, array.size).reshape(array.shape)
            to_host = self._runtime.memcpyDeviceToHost
            self._runtime.memcpyAsync(host.ctypes.data, array.data.ptr, array.nbytes, to_host, self._address)
            event = self._keep(pinned)

        def result() -> npt.NDArray[Any]:
            check_process()
            event.synchronize()
            return host

        return result

    def adopt(self, array: Any) -> Array | None:
        return array if is_cupy(array) and array.device.id == self.number else None

    def _owners_stream(self) -> Any:
        """CuPy's current stream on this GPU, outside of any device's context: arrays are taken in its order."""
        for device in active_runtimes():
            if isinstance(device, CudaDevice) and device.number == self.number:
                return device.users_stream
        check_process()
        with self._cupy.cuda.Device(self.number):
            return self._cupy.cuda.get_current_stream()

    def await_owner(self) -> None:
        self._kernels.wait_event(self._owners_stream().record(self._passing))

    def hand_back(self, arrays: Sequence[Array], mark: Any) -> None:
        """The arrays are kept until then, in case that they are freed to another stream."""
        self._owners_stream().wait_event(mark)
        self._under_way.append((mark, arrays))

    def copy(self, target: Array, source: Array) -> None:
        if self.preallocating:
            return
        within = self._runtime.memcpyDeviceToDevice
        self._runtime.memcpyAsync(target.data.ptr, source.data.ptr, target.nbytes, within, self.stream())

    def run(self, key: tuple[Any, ...], body: Callable[[], object], *others: CudaDevice) -> None:
        """Do a pass's work: once as it is; then recorded as a graph; then that again, until some array was made anew.

        The work may not depend on anything but what `key` holds and what lies in the memory of this device and the
        others. Copies that go by way of the host are not recorded, and nothing with them.
        """
        if others not in self._graphs:
            direct = all(other.number in self._direct and self.number in other._direct for other in others)
            self._graphs[others] = Graphs((self, *others)) if self.graphs and direct else None
        if graphs := self._graphs[others]:
            graphs.run(key, body)
        else:
            body()

    def marks(self) -> list[Any]:
        """Marks after the work so far, one on each stream."""
        with self._cupy.cuda.Device(self.number):
            return [stream.record(self._event()) for stream in self.streams]

    def record(self) -> Any:
        return self._kernels.record(self._event())

    def _event(self) -> Any:
        """A new one, of this device, which as a rule is the current one."""
        if getattr(active_runtime(), "number", None) == self.number:
            return self._cupy.cuda.Event(disable_timing=True)
        with self._cupy.cuda.Device(self.number):
            return self._cupy.cuda.Event(disable_timing=True)

    def wait(self, mark: Any) -> None:
        self._kernels.wait_event(mark)

    def follow(self, other: CudaDevice) -> None:
        """Let later kernels begin only after those that the other device has so far."""
        self._kernels.wait_event(other._kernels.record(other._passing))

    def send(self, target: Array, source: Array, after: Sequence[Any]) -> Any:
        """Copy to another device on the stream of copies, directly where the two can reach each other."""
        if self.preallocating:
            return self.record()
        for event in after:
            self._copies.wait_event(event)
        to, of, size = target.data.ptr, source.data.ptr, source.nbytes
        with self._cupy.cuda.Device(self.number):
            if target.device.id in self._direct:  # as part of a graph it can be no other copy than this
                self._runtime.memcpyAsync(to, of, size, self._runtime.memcpyDeviceToDevice, self._copies.ptr)
            else:
                self._runtime.memcpyPeerAsync(to, target.device.id, of, self.number, size, self._copies.ptr)
            return self._copies.record(self._cupy.cuda.Event(disable_timing=True))

    def enable_peer(self, peer: CudaDevice) -> bool:
        """False: the driver goes by way of the host."""
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
        self._direct.add(peer.number)
        return True

    def memory(self) -> tuple[int, int] | None:
        """Bytes free, those that CuPy's pool keeps for later among them, and in all."""
        with self.active():
            free, total = self._runtime.memGetInfo()
            return free + self._cupy.get_default_memory_pool().free_bytes(), total
