"""Choosing the fastest of a library's algorithms: each is timed shortly, the best few once more inside a CUDA graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ..harness import timing
from ..harness.bench import Unsupported
from ..harness.results import Record

# Timed once more. On the host an algorithm's launch may take as long as a small kernel; a graph's does not.
_SECOND_ROUND = 6
# What a search takes beside its limit: the algorithm in hand when that is reached, and the second round.
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
    """One of a library's ways to do a thing.

    Attributes
    ----------
    name : str
        Engine and settings, or algorithm and kind of arithmetic.
    workspace : int
        Bytes.
    run : callable
        Enqueues one call on arrays of the set with this number.
    """

    name: str
    workspace: int
    run: Callable[[int], Any]
    seconds: float = math.inf


@dataclass
class Found:
    """The algorithms that ran, fastest first, and what the search did."""

    algorithms: list[Algorithm]
    detail: Record


def _all_sets(bench: Any, algorithm: Algorithm) -> Callable[[], Any]:
    return lambda: [algorithm.run(i) for i in range(len(bench.sets))]


def _first_round(
    bench: Any, algorithms: Iterable[Algorithm], end: float, detail: Record, most_workspace: int
) -> list[Algorithm]:
    ran: list[Algorithm] = []
    for algorithm in algorithms:
        detail["built"] += 1
        if algorithm.workspace > most_workspace:
            detail["too_large"] += 1
            continue
        try:
            algorithm.run(0)
            candidate = timing.Candidate(algorithm.name, _all_sets(bench, algorithm), len(bench.sets))
            algorithm.seconds = timing.quick(bench.device, candidate, 3)
            ran.append(algorithm)
        except Unsupported:
            detail["refused"] += 1
        except Exception as error:
            bench.device.synchronize()  # raises where the device is lost; else only this one failed
            detail["failed"] += 1
            detail.setdefault("failure", f"{algorithm.name}: {error}"[:200])
        if bench.device.now() > end:
            detail["out_of_time"] = True
            break
    return ran


def fastest(bench: Any, algorithms: Iterable[Algorithm], most_workspace: int) -> Found:
    """Time every algorithm, as they come: an iterator may build each only when its turn has come.

    Raises
    ------
    Unsupported
        None of them ran.
    """
    detail: Record = {"built": 0, "refused": 0, "failed": 0, "too_large": 0, "out_of_time": False}
    end = min(bench.device.now() + bench.plan_seconds, bench.end)
    ran = sorted(_first_round(bench, algorithms, end, detail, most_workspace), key=lambda a: a.seconds)
    if not ran:
        raise Unsupported(f"none of {detail['built']} algorithms ran; {detail.get('failure', 'all were refused')}")
    for algorithm in ran[:_SECOND_ROUND]:
        try:
            captured = bench.device.capture(_all_sets(bench, algorithm))
            candidate = timing.Candidate(algorithm.name, captured.replay, len(bench.sets))
            algorithm.seconds = timing.quick(bench.device, candidate, 5)
        except Exception as error:
            bench.device.synchronize()
            algorithm.seconds = math.inf
            detail.setdefault("not_captured", []).append(f"{algorithm.name}: {error}"[:200])
    captured_ones = sorted(ran[:_SECOND_ROUND], key=lambda a: a.seconds)
    captured_ones = [a for a in captured_ones if math.isfinite(a.seconds)]
    if not captured_ones:
        raise Unsupported(f"no algorithm can be part of a CUDA graph: {detail['not_captured'][0]}")
    detail["fastest"] = [[a.name, round(1e6 * a.seconds, 2), a.workspace] for a in captured_ones[:5]]
    return Found(captured_ones, detail)


class Choice:
    """The algorithm in use: the fastest, or after wrong results the next."""

    def __init__(self, found: Found) -> None:
        self.found, self.at = found, 0
        self._note()

    def _note(self) -> None:
        self.found.detail["engine"] = self.found.algorithms[self.at].name
        self.found.detail["workspace"] = self.found.algorithms[self.at].workspace

    def run(self, index: int) -> None:
        """One call."""
        self.found.algorithms[self.at].run(index)

    def retry(self) -> bool:
        """Turn to the next algorithm, if there is one."""
        if self.at + 1 == len(self.found.algorithms):
            return False
        self.at += 1
        self._note()
        return True
