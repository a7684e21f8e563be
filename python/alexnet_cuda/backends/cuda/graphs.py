"""Work of one GPU or two as CUDA graphs: recorded the second time that it is done, then launched as a whole."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from ...base.notices import say_once

# Graphs that are kept: one for each kind of pass, size of batch and set of rates.
_GRAPHS = 8
# Of driver_types.h, cudaError: cudaErrorStreamCaptureUnsupported to cudaErrorCapturedEvent.
_REFUSALS = range(900, 908)


class Graphs:
    """The graphs of some devices, launched on the first one's stream of kernels.

    What they record forks from that stream to the others and is joined to it again. A launch comes after all that the
    devices' kernels had to do, and what they are given next comes after the launch.

    Parameters
    ----------
    devices : sequence of CudaDevice
    """

    def __init__(self, devices: Sequence[Any]) -> None:
        # The first device owns this object: without a cycle it goes when its model goes, and not when a collection
        # of garbage finds it, which may be within another model's recording.
        self._first, self._others = weakref.proxy(devices[0]), devices[1:]
        self._devices = (self._first, *self._others)
        self._refused = False
        self._kept: dict[tuple[Any, ...], Any] = {}  # None: done once without making arrays, so it can be recorded
        self._made: list[int] = []  # allocations that their addresses are good for

    def run(self, key: tuple[Any, ...], body: Callable[[], object]) -> None:
        """Do what `body` does; see `CudaDevice.run`."""
        self._forget_moved()
        if self._refused or key not in self._kept:
            body()
            self._forget_moved()
            self._kept[key] = None
        elif graph := self._kept.pop(key) or self._recorded(body):
            self._kept[key] = graph  # last: those longest unused are given up first
            self._launch(graph)
        else:
            body()  # nothing of what was to be recorded has been done
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
            self._first.follow(other)
        with self._first.active():
            graph.launch(self._first.streams[0])
        for other in self._others:
            other.follow(self._first)

    def _recorded(self, body: Callable[[], object]) -> Any:
        """The graph of what `body` does; None where CUDA cannot record it, which is said once."""
        import cupy

        collecting = gc.isenabled()
        gc.disable()  # what it finds may be streams and memory of other models, and to give those back is refused here
        try:
            return self._record(body)
        except cupy.cuda.runtime.CUDARuntimeError as error:
            if error.status not in _REFUSALS:
                raise
            self._refused = True
            say_once("CUDA graph", f"no CUDA graph: {error}; kernels are launched one by one")
            return None
        finally:
            if collecting:
                gc.enable()

    def _record(self, body: Callable[[], object]) -> Any:
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
