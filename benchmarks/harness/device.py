"""The GPU as the measurements see it, through CuPy: memory, streams, events, graphs. Imports CuPy when opened.

No kernel of CuPy's own is launched: arrays are filled by copies and set by bytes, so neither NVRTC nor a dtype that
CuPy's kernels do not know (bfloat16) is ever in the way.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .cases import PERIOD, Tensor, start, table


class NoDevice(RuntimeError):
    """There is no usable GPU here; the message says what is missing."""


@dataclass
class Captured:
    """A CUDA graph: what launches it, and what describes it in the DOT language, which names its kernels."""

    replay: Callable[[], Any]
    dot: Callable[[], str] = lambda: ""

    def kernels(self) -> list[str]:
        """The names of its kernels, in no particular order; nothing where CUDA does not tell."""
        try:
            return kernel_names(self.dot())
        except Exception:  # a description is never worth a measurement
            return []


def kernel_names(dot: str) -> list[str]:
    """The kernels in what cudaGraphDebugDotPrint writes with cudaGraphDebugDotFlagsVerbose."""
    return re.findall(r"\{KERNEL\s*\|\s*\{ID \| \d+ \(topoId: \d+\) \| (.*?)\\<\\<\\<", dot)


class Device:
    """The first CUDA device; `NoDevice` where CuPy is missing, or finds no GPU."""

    def __init__(self) -> None:
        try:
            import cupy

            count = cupy.cuda.runtime.getDeviceCount()
        except ImportError as error:
            raise NoDevice(f"the measurements need CuPy: pip install cupy-cuda13x ({error})") from error
        except Exception as error:  # CuPy's own error class, which cannot be named without CuPy
            raise NoDevice(f"no CUDA device: {error}; `alexnet-cuda doctor` says more") from error
        if count == 0:
            raise NoDevice("no CUDA device; `alexnet-cuda doctor` says more")
        self.cupy = cupy
        cupy.cuda.Device(0).use()
        self.properties: dict[str, Any] = cupy.cuda.runtime.getDeviceProperties(0)
        self._tables: dict[tuple[str, int, str], Any] = {}

    @property
    def cache_bytes(self) -> int:
        """Of the last-level cache."""
        return int(self.properties["l2CacheSize"])

    @property
    def machine(self) -> dict[str, int]:
        """What our launch choices depend on."""
        names = {"multiprocessors": "multiProcessorCount", "multiprocessor_bytes": "sharedMemPerMultiprocessor"}
        return {name: int(self.properties[field]) for name, field in names.items()}

    @property
    def bus_id(self) -> str:
        """Where the card is on the PCI bus: its name for NVML, which does not know CUDA_VISIBLE_DEVICES."""
        return str(self.cupy.cuda.Device(0).pci_bus_id)

    def free_bytes(self) -> int:
        """Device memory that nobody holds."""
        return int(self.cupy.cuda.runtime.memGetInfo()[0])

    # -- the clock of timing.py

    def record(self) -> Any:
        """An event on the current stream."""
        event = self.cupy.cuda.Event()
        event.record()
        return event

    def elapsed(self, first: Any, last: Any) -> float:
        """Seconds between two events."""
        return float(self.cupy.cuda.get_elapsed_time(first, last)) / 1e3

    def synchronize(self) -> None:
        """Wait for the device; an error of a kernel shows here."""
        self.cupy.cuda.runtime.deviceSynchronize()

    def now(self) -> float:
        """The host's clock."""
        return time.perf_counter()

    # -- streams and graphs

    def stream(self) -> int:
        """The current stream, as libraries take it."""
        return int(self.cupy.cuda.get_current_stream().ptr)

    def capture(self, function: Callable[[], Any]) -> Captured:
        """A CUDA graph of all that `function` enqueues on the current stream.

        What it allocates from CuPy's pool comes from a pool of the graph's own, so nothing else is ever placed where
        a replay writes.
        """
        cupy = self.cupy
        pool = cupy.cuda.MemoryPool()
        stream = cupy.cuda.Stream(non_blocking=True)
        self.synchronize()
        with cupy.cuda.using_allocator(pool.malloc), stream:
            function()  # once outside: what allocates or loads at first use does so here
            stream.synchronize()
            stream.begin_capture()
            try:
                function()
            finally:
                graph = stream.end_capture()

        def replay(keep: tuple[Any, ...] = (pool, stream)) -> None:
            graph.launch()

        return Captured(replay, lambda: str(graph.debug_dot_str(1)))

    # -- memory

    def empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        """An array of any dtype, its bytes left as they are."""
        kind = np.dtype(dtype)
        memory = self.cupy.cuda.alloc(max(1, math.prod(shape) * kind.itemsize))
        return self.cupy.ndarray(shape, kind, memptr=memory)

    def upload(self, host: np.ndarray) -> Any:
        """A copy of a host array."""
        array = self.empty(host.shape, host.dtype.name)
        if host.nbytes:
            source = np.ascontiguousarray(host)
            array.data.copy_from_host(source.ctypes.data, source.nbytes)
        return array

    def download(self, array: Any) -> np.ndarray:
        """A host copy, whatever the dtype."""
        host = np.empty(array.shape, array.dtype)
        self.synchronize()
        if host.nbytes:
            array.data.copy_to_host(host.ctypes.data, host.nbytes)
        return host

    def poison(self, array: Any) -> None:
        """Fill with bytes of 255: NaN in every floating type, no tap of a pool."""
        if array.nbytes:
            array.data.memset_async(255, array.nbytes)

    def clear(self, array: Any) -> None:
        """Fill with zeros."""
        if array.nbytes:
            array.data.memset_async(0, array.nbytes)

    def fill(self, array: Any, name: str, tensor: Tensor, set_index: int) -> None:
        """Fill with the random numbers of `cases.numbers`, by copies of the table."""
        key = (tensor.dtype, tensor.scale, tensor.rounded)
        if key not in self._tables:
            self._tables[key] = self.upload(table(*key))
        source, width = self._tables[key].data, array.dtype.itemsize
        done, at = 0, start(name, set_index)
        while done < array.size:
            count = min(PERIOD - at, array.size - done)
            target = array.data + done * width
            target.copy_from_device_async(source + at * width, count * width)
            done, at = done + count, 0

    def release(self) -> None:
        """Give cached memory back, so that the next library may have it."""
        self.synchronize()
        self.cupy.get_default_memory_pool().free_all_blocks()
