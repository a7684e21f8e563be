"""Work of one GPU or two as CUDA graphs: recorded the second time that it is done, then launched as a whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .device import CudaDevice

# Graphs that are kept: one for each kind of pass, size of batch and set of rates.
_GRAPHS = 8


class Graphs:
    """The graphs of some devices, launched on the first one's stream of kernels.

    What they record forks from that stream to the others and is joined to it again. A launch comes after all that the
    devices' kernels had to do, and what they are given next comes after the launch.

    Parameters
    ----------
    devices : sequence of CudaDevice
    """

    def __init__(self, devices: Sequence[CudaDevice]) -> None:
        self._devices, self._first, self._others = devices, devices[0], devices[1:]
        self._kept: dict[tuple[Any, ...], Any] = {}  # None: done once without making arrays, so it can be recorded
        self._made: list[int] = []  # allocations that their addresses are good for

    def run(self, key: tuple[Any, ...], body: Callable[[], None]) -> None:
        """Do what `body` does; see `CudaDevice.run`."""
        self._forget_moved()
        if key not in self._kept:
            body()
            self._forget_moved()
            self._kept[key] = None
        else:
            graph = self._kept.pop(key) or self._record(body)
            self._kept[key] = graph  # behind the others: those longest unused are given up first
            self._launch(graph)
        while len(self._kept) > _GRAPHS:
            del self._kept[next(iter(self._kept))]

    def _forget_moved(self) -> None:
        """Give the graphs up if an array was made since: their addresses may be others' by now."""
        made = [device.allocations for device in self._devices]
        if made != self._made:
            self._kept.clear()
            self._made = made

    def _launch(self, graph: Any) -> None:
        for other in self._others:
            self._first.wait(other.record())
        with self._first.active():
            graph.launch(self._first.streams[0])
        if self._others:
            done = self._first.record()
            for other in self._others:
                other.wait(done)

    def _record(self, body: Callable[[], None]) -> Any:
        import cupy

        origin = self._first.streams[0]
        with self._first.active():
            # In this thread only: another one may allocate meanwhile.
            origin.begin_capture(cupy.cuda.runtime.streamCaptureModeThreadLocal)
            try:
                if self._others:
                    begun = self._first.record()
                    for stream in (stream for device in self._devices for stream in device.streams):
                        stream.wait_event(begun)
                body()
                if self._others:
                    for event in (event for device in self._devices for event in device.marks()):
                        origin.wait_event(event)
            except BaseException:
                # Its own error would hide the one that broke the recording.
                with suppress(cupy.cuda.runtime.CUDARuntimeError):
                    origin.end_capture()
                raise
            return origin.end_capture()
