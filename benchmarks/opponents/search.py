"""Choosing the fastest of a library's algorithms: each is timed in a CUDA graph, where its launch does not count."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..harness import timing
from ..harness.contest import Unsupported
from ..harness.results import Record

# What a search takes beside its limit: the algorithm in hand when that is reached.
SEARCH_SECONDS = 7.0


class Workspace:
    """One buffer for whichever algorithm runs, made larger when one needs it."""

    def __init__(self, device: Any) -> None:
        self.device, self.size, self.buffer = device, 0, None

    def of(self, size: int) -> int:
        """The address of at least so many bytes; the same as before while they suffice."""
        if self.buffer is None or size > self.size:
            self.device.synchronize()  # what still runs may write to the old one
            self.buffer, self.size = None, size
            self.buffer = self.device.empty((size + 256,), "uint8")
        return int(self.buffer.data.ptr)


@dataclass
class Algorithm:
    """One of a library's ways to do a thing."""

    name: str  # engine and settings
    workspace: int  # bytes
    run: Callable[[int], Any]  # enqueues one call on arrays of the set with this number
    seconds: float = math.inf


class Search:
    """The algorithm in use: the fastest, or after wrong results the next; `Unsupported` where none runs.

    An iterator may build each only when it is asked for it: none is after `bench.plan_seconds` or the bench's end. None
    may take more than `most_workspace` bytes.
    """

    def __init__(self, bench: Any, algorithms: Iterable[Algorithm], most_workspace: int) -> None:
        self.bench, self.at = bench, 0
        self.detail: Record = {"built": 0, "refused": 0, "failed": 0, "too_large": 0, "out_of_time": False}
        self.algorithms = sorted(self._timed(algorithms, most_workspace), key=lambda a: a.seconds)
        if not self.algorithms:
            failure = self.detail.get("failure", "all were refused")
            raise Unsupported(f"none of {self.detail['built']} algorithms ran; {failure}")
        self.detail["fastest"] = [[a.name, round(1e6 * a.seconds, 2), a.workspace] for a in self.algorithms[:5]]
        self._note()

    def _timed(self, algorithms: Iterable[Algorithm], most_workspace: int) -> Iterator[Algorithm]:
        device, sets = self.bench.device, range(len(self.bench.sets))
        end = min(device.now() + self.bench.plan_seconds, self.bench.end)
        for algorithm in algorithms:
            self.detail["built"] += 1
            try:
                if algorithm.workspace > most_workspace:
                    self.detail["too_large"] += 1
                    continue
                algorithm.run(0)  # its workspace is to outlive this graph
                captured = device.capture(lambda run=algorithm.run: [run(i) for i in sets])
                algorithm.seconds = timing.quick(device, timing.Candidate("", captured.replay, len(sets)))
                yield algorithm
            except Unsupported:
                self.detail["refused"] += 1
            except Exception as error:
                device.synchronize()  # raises where the device is lost; else only this one failed
                self.detail["failed"] += 1
                self.detail.setdefault("failure", f"{algorithm.name}: {error}"[:200])
            if device.now() > end:
                self.detail["out_of_time"] = True
                return

    def _note(self) -> None:
        chosen = self.algorithms[self.at]
        self.detail |= {"engine": chosen.name, "workspace": chosen.workspace}

    def run(self, index: int) -> None:
        """One call."""
        self.algorithms[self.at].run(index)

    def retry(self) -> bool:
        """Turn to the next algorithm, if there is one."""
        if self.at + 1 == len(self.algorithms):
            return False
        self.at += 1
        self._note()
        return True
