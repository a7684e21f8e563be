"""A driver without a GPU: real CuPy arrays on memory of the CPU executor, `_simt` for `_cuda`, streams that lag.

`backends/cuda` runs unchanged on it. What CuPy would do by the driver (streams, events, graphs, copies, allocations)
is done here, each as strictly as CUDA defines it: work on a stream is put off until somebody waits, in an order that a
seed chooses among all that the events allow; a copy from pinned memory reads it when its turn comes, one from other
memory before the call returns. While a graph is recorded nothing may be waited for, asked of an event, put on the
legacy stream or copied from memory that is not pinned, and no memory may be got from the driver; streams join by events
and are joined back; what breaks that is CUDA's own error. A graph's streams run in any order that its events allow, and
it may be launched only while all that it works on still lies where it lay. Every name that is replaced exists in the
installed CuPy, or the fixture fails.
"""

from __future__ import annotations

import ctypes
import dataclasses
import inspect
import sys
import types
import weakref
from collections.abc import Callable
from typing import Any

import cupy
import numpy as np
import pytest

import alexnet_cuda
from alexnet_cuda.backends import devices
from alexnet_cuda.backends.runtime import Tensor
from alexnet_cuda.backends.simt.memory import extension
from alexnet_cuda.backends.simt.streams import Scheduler

_simt = extension()
default_device = inspect.unwrap(devices.default_device)  # the package's own, which tests/default_is_simt replaces
LAUNCHES = frozenset(name for name in dir(_simt) if "stream" in (getattr(_simt, name).__doc__ or "").partition("->")[0])

# CUDA's errors of captures: work that was not joined, work outside, the legacy stream, an event of a graph.
UNSUPPORTED, MERGE, UNMATCHED, UNJOINED, ISOLATION, IMPLICIT, CAPTURED_EVENT = 900, 902, 903, 904, 905, 906, 907


def cuda_error(number: int) -> Exception:
    error: Exception = cupy.cuda.runtime.CUDARuntimeError(number)
    return error


class Capture:
    """A graph being recorded, then the graph: what was put on each of its streams, in order, with marks and waits."""

    def __init__(self, origin: Stream) -> None:
        self.driver, self.origin, self.open = origin.driver, origin, True
        self.items: list[tuple[Stream, str, Any]] = []
        # Of each stream, how much of every stream comes before what it does next.
        self.before: dict[Stream, dict[Stream, int]] = {}
        self.queues: dict[Stream, Any] = {}
        self.blocks: set[tuple[int, int]] = set()  # of device memory
        self.launches = 0
        self.join(origin)

    def join(self, stream: Stream) -> None:
        self.before.setdefault(stream, {})
        self.queues.setdefault(stream, self.driver.scheduler.stream(copies=stream.queue.copies))
        stream.recording = self

    def put(self, stream: Stream, do: Callable[[], object]) -> None:
        self.items.append((stream, "do", do))
        self.before[stream][stream] = self.before[stream].get(stream, 0) + 1

    def end(self) -> None:
        self.open = False
        for stream in self.before:
            stream.recording = None
        joined = self.before[self.origin]
        if any(joined.get(s, 0) != before.get(s, 0) for s, before in self.before.items()):
            raise cuda_error(UNJOINED)

    def launch(self, stream: Stream) -> None:
        assert self.blocks <= self.driver.live(), "a graph works on memory that was given back"
        self.launches += 1
        start, marks = stream.queue.record(), {}
        for queue in self.queues.values():
            queue.wait(start)
        for lane, kind, thing in self.items:
            queue = self.queues[lane]
            if kind == "do":
                queue.put(thing)
            elif kind == "mark":
                marks[thing] = queue.record()
            else:
                queue.wait(marks[thing])
        for queue in self.queues.values():
            stream.queue.wait(queue.record())


class Event:
    """As cupy.cuda.Event; an event belongs to the device that was current when it was made."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        self.driver, self.device, self.mark = Driver.current, Driver.current.device, None
        # Recorded in a graph: which one, its mark there, and how much of each stream comes before it.
        self.captured: tuple[Capture, object, dict[Stream, int]] | None = None

    @property
    def done(self) -> bool:
        self._refuse_while_recording("asking an event")
        return self.mark is None or self.mark.done

    def _refuse_while_recording(self, what: str) -> None:
        if self.captured is not None:
            raise cuda_error(CAPTURED_EVENT)
        self.driver.refuse_while_recording(what)

    def synchronize(self) -> None:
        self._refuse_while_recording("synchronising")
        self.driver.synchronisations += not self.done
        self.driver.scheduler.run_until(lambda: self.done)


class Stream:
    """As cupy.cuda.Stream."""

    def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False) -> None:
        self.driver, self.device = Driver.current, Driver.current.device
        # Of the three that a CudaDevice makes the last two are for copies, which some orders put off.
        number = len(self.driver.streams) - self.driver.count
        self.queue = self.driver.scheduler.stream(copies=number > 0 and number % 3 > 0)
        self.ptr = 0x51000 + 16 * len(self.driver.streams)
        self.driver.streams[self.ptr] = self
        self.recording: Capture | None = None

    def put(self, do: Callable[[], object]) -> None:
        if self.recording is not None:
            self.recording.put(self, do)
        else:
            if self in self.driver.default and self.driver.recording():
                raise cuda_error(IMPLICIT)
            self.queue.put(do)

    def __enter__(self) -> Stream:
        self.driver.entered.append(self)
        return self.use()

    def __exit__(self, *_: object) -> None:
        assert self.driver.entered.pop() is self
        # As CuPy: back to the last one entered on this device, a stream that was chosen by use() is forgotten.
        here = [stream for stream in self.driver.entered if stream.device == self.device]
        self.driver.chosen[self.device] = here[-1] if here else self.driver.default[self.device]

    def use(self) -> Stream:
        self.driver.chosen[self.device] = self
        return self

    def record(self, event: Event | None = None) -> Event:
        event = Event() if event is None else event
        if event.device != self.device:
            raise AssertionError("an event of one device cannot be recorded on a stream of another")
        if self.recording is not None:
            mark = object()
            self.recording.items.append((self, "mark", mark))
            event.mark, event.captured = None, (self.recording, mark, dict(self.recording.before[self]))
        else:
            event.mark, event.captured = self.queue.record(), None
        return event

    def wait_event(self, event: Event) -> None:
        if event.captured is not None:
            graph, mark, before = event.captured
            if not graph.open or self in self.driver.default:
                raise cuda_error(CAPTURED_EVENT if not graph.open else IMPLICIT)
            if self.recording not in (None, graph):
                raise cuda_error(MERGE)
            graph.join(self)
            graph.items.append((self, "wait", mark))
            mine = graph.before[self]
            mine.update({stream: max(count, mine.get(stream, 0)) for stream, count in before.items()})
        elif event.mark is not None:
            if self.recording is not None:
                raise cuda_error(ISOLATION)
            self.queue.wait(event.mark)

    def synchronize(self) -> None:
        self.driver.refuse_while_recording("synchronising")
        self.driver.synchronisations += bool(self.queue.queue)
        self.queue.synchronize()

    def begin_capture(self, mode: int | None = None) -> None:
        if self.recording is not None or self in self.driver.default:
            raise cuda_error(UNSUPPORTED)
        Capture(self)

    def end_capture(self) -> Capture:
        graph = self.recording
        if graph is None or graph.origin is not self:
            raise cuda_error(UNMATCHED)
        graph.end()
        self.driver.graphs.append(graph)
        return graph

    def is_capturing(self) -> bool:
        return self.recording is not None


class Device:
    """As cupy.cuda.Device."""

    def __init__(self, number: int) -> None:
        self.driver, self.id = Driver.current, number

    def __enter__(self) -> Device:
        self.driver.devices.append(self.id)
        return self

    def __exit__(self, *_: object) -> None:
        assert self.driver.devices.pop() == self.id


class Pinned(bytearray):
    """As cupy.cuda.PinnedMemoryPointer."""


def without_arrays(value: Any) -> Any:
    """Options as the extension reads them, of which what is put on a stream keeps no memory alive."""
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    arrays = [f.name for f in dataclasses.fields(value) if hasattr(getattr(value, f.name), "dtype")]
    return dataclasses.replace(value, **dict.fromkeys(arrays))


class Extension:
    """`_cuda`: the launches of `_simt` put on streams, its pure functions as they are."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def device_count(self) -> int:
        return self._driver.count

    def device_properties(self, *, device: int) -> dict[str, Any]:
        return {"name": "stand-in", "capability": (9, 0), "memory_bytes": 1 << 34, "multiprocessors": 132}

    def __getattr__(self, name: str) -> Any:
        function = getattr(_simt, name)
        if name not in LAUNCHES:
            return function

        def launch(*, stream: int, **arguments: Any) -> None:
            there = self._driver.streams[stream]
            assert there.device == self._driver.device, "a launch on a stream of another device"
            self._driver.launches.append(name)
            self._driver.note(there, *arguments.values())
            plain = {name: without_arrays(value) for name, value in arguments.items()}
            there.put(lambda: (function(**plain, stream=0), self._driver.ran.append(name)))

        return launch


class Driver:
    """The state of all of it."""

    current: Driver

    def __init__(self, count: int, order: int) -> None:
        Driver.current = self
        self.count, self.scheduler = count, Scheduler(order)
        self.devices = [0]
        self.streams: dict[int, Stream] = {}
        self.default: list[Stream] = []
        for number in range(count):
            with Device(number):
                self.default.append(Stream(null=True))
        self.entered: list[Stream] = []
        self.chosen: dict[int, Stream] = dict(enumerate(self.default))
        self.pool: dict[int, list[tuple[int, int]]] = {}  # of a stream: sizes and addresses
        self.made: list[int] = []
        self.blocks: dict[int, tuple[int, int]] = {}  # in use: address to size, and how many were made before it
        self.allocations = 0
        self.pinned: dict[int, int] = {}
        self.graphs: list[Capture] = []
        self.launches: list[str] = []
        self.ran: list[str] = []  # of the launches those that are done
        self.arrived: list[int] = []  # bytes of the copies from pinned memory that are done
        self.synchronisations = 0
        self.allocated = [0] * count  # bytes a device
        self.limit: int | None = None  # of each device
        self.peers: set[tuple[int, int]] = set()

    @property
    def device(self) -> int:
        return self.devices[-1]

    def stream(self) -> Stream:
        return self.chosen[self.device]

    def room(self) -> int:
        return 1 << 34 if self.limit is None else self.limit

    def recording(self) -> bool:
        return any(stream.recording for stream in self.streams.values())

    def refuse_while_recording(self, what: str) -> None:
        assert not self.recording(), f"{what} while a graph is recorded"

    def note(self, stream: Stream, *addresses: Any) -> None:
        """Have a graph that is being recorded remember which device memory it works on."""
        if stream.recording is not None:
            given = [thing.address for thing in addresses if isinstance(thing, Tensor)]
            for start, (size, number) in self.blocks.items():
                if any(start <= address < start + size for address in given):
                    stream.recording.blocks.add((start, number))

    def live(self) -> set[tuple[int, int]]:
        """What device memory is in use: addresses, and the number of each allocation."""
        return {(address, number) for address, (_, number) in self.blocks.items()}

    def empty(self, shape: Any, dtype: Any = float, order: str = "C") -> cupy.ndarray:
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        size, device = int(np.prod(shape)) * np.dtype(dtype).itemsize, self.device
        if self.allocated[device] + size > self.room():
            raise cupy.cuda.memory.OutOfMemoryError(size, self.allocated[device], self.room())
        self.allocated[device] += size
        # As CuPy's pool: what was given back is handed out again at once, the smallest that is large enough, to the
        # stream that it was made for: the work that still uses it comes before on that one, and on no other.
        free, room = self.pool.setdefault(self.stream().ptr, []), -(-max(size, 1) // 512) * 512
        if fitting := [block for block in free if block[0] >= room]:
            free.remove(block := min(fitting))
            if block[0] > room:  # the rest is a block of its own
                free.append((block[0] - room, block[1] + room))
            address = block[1]
        else:
            self.refuse_while_recording("allocating")
            address = _simt.allocate(bytes=room, label="device")
            self.made.append(address)
        owner = (ctypes.c_char * max(1, size)).from_address(address)
        self.allocations += 1
        self.blocks[address] = (room, self.allocations)

        def give_back() -> None:
            del self.blocks[address]
            self.allocated[device] -= size
            free.append((room, address))

        weakref.finalize(owner, give_back)
        memory = cupy.cuda.UnownedMemory(address, size, owner, device_id=device)
        return cupy.ndarray(shape, dtype, memptr=cupy.cuda.MemoryPointer(memory, 0))

    def alloc_pinned_memory(self, size: int) -> Pinned:
        self.refuse_while_recording("allocating")
        block = Pinned(size)
        self.pinned[address := np.frombuffer(block, np.uint8).ctypes.data] = size
        weakref.finalize(block, self.pinned.pop, address)
        return block

    def is_pinned(self, address: int) -> bool:
        return any(start <= address < start + size for start, size in self.pinned.items())

    def memcpy_async(self, target: int, source: int, size: int, kind: int, stream: int) -> None:
        runtime = cupy.cuda.runtime
        self.note(self.streams[stream], target, source)
        if kind == runtime.memcpyDeviceToDevice:  # what is there while the copy is under way
            self.streams[stream].put(lambda: ctypes.memset(target, 255, size))
        if kind == runtime.memcpyHostToDevice and not self.is_pinned(source):
            assert self.streams[stream].recording is None, "a graph would copy from memory that is not pinned"
            staged = ctypes.string_at(source, size)
            self.streams[stream].put(lambda: ctypes.memmove(target, staged, size))
            return
        arrived = self.arrived if kind == runtime.memcpyHostToDevice else []
        self.streams[stream].put(lambda: (ctypes.memmove(target, source, size), arrived.append(size)))
        if kind == runtime.memcpyDeviceToHost and not self.is_pinned(target):
            self.streams[stream].synchronize()

    def memcpy_peer_async(self, target: int, to: int, source: int, of: int, size: int, stream: int) -> None:
        assert {to, of} <= set(range(self.count))
        self.memcpy_async(target, source, size, cupy.cuda.runtime.memcpyDeviceToDevice, stream)

    def memset_async(self, target: int, value: int, size: int, stream: int) -> None:
        self.note(self.streams[stream], target)
        self.streams[stream].put(lambda: ctypes.memset(target, value, size))

    def enable_peer(self, peer: int) -> None:
        if (self.device, peer) in self.peers:
            raise cuda_error(704)
        self.peers.add((self.device, peer))

    def close(self) -> None:
        for address in self.made:
            _simt.release(address=address)

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Put this in the place of CuPy's driver and of `_cuda`."""
        extension: Any = Extension(self)
        patch.setitem(sys.modules, "alexnet_cuda._cuda", extension)
        patch.setattr(alexnet_cuda, "_cuda", extension, raising=False)
        patch.setattr(cupy, "empty", self.empty)
        patch.setattr(cupy, "get_default_memory_pool", lambda: types.SimpleNamespace(free_bytes=lambda: 0))
        for name, thing in {
            "Device": Device,
            "Stream": Stream,
            "Event": Event,
            "get_current_stream": self.stream,
            "alloc_pinned_memory": self.alloc_pinned_memory,
            "runtime.getDevice": lambda: self.device,
            "runtime.streamIsCapturing": lambda ptr: ptr in self.streams and self.streams[ptr].is_capturing(),
            "runtime.memcpyAsync": self.memcpy_async,
            "runtime.memcpyPeerAsync": self.memcpy_peer_async,
            "runtime.memsetAsync": self.memset_async,
            "runtime.deviceCanAccessPeer": lambda device, peer: 1,
            "runtime.deviceEnablePeerAccess": self.enable_peer,
            "runtime.memGetInfo": lambda: (self.room() - self.allocated[self.device], self.room()),
        }.items():
            patch.setattr(f"cupy.cuda.{name}", thing)
