"""Timing in turn: round after round every candidate runs once, so that whatever the card does hits all alike.

A candidate is a function that enqueues `calls` calls of an implementation, as a rule a CUDA graph's launch. The device
is anything with `record`, `elapsed` and `synchronize` (see `device.py`), so all of this runs without a GPU too.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


class Clock(Protocol):
    """What timing needs of a device."""

    def record(self) -> Any:
        """An event at the end of all that has been enqueued."""

    def elapsed(self, start: Any, end: Any) -> float:
        """Seconds between two events that have happened."""

    def synchronize(self) -> None:
        """Wait for all that has been enqueued."""

    def now(self) -> float:
        """The host's clock, seconds."""


@dataclass
class Candidate:
    """Something to time: `replay` enqueues `calls` calls."""

    name: str
    replay: Callable[[], Any]
    calls: int = 1


@dataclass(frozen=True)
class Times:
    """Seconds a call: median, first and last decile, least, and how many rounds."""

    median: float
    low: float
    high: float
    least: float
    rounds: int

    @classmethod
    def of(cls, seconds: list[float]) -> Times:
        """The summary of a list of times."""
        ordered = sorted(seconds)
        last = len(ordered) - 1
        low, high = ordered[round(0.1 * last)], ordered[round(0.9 * last)]
        return cls(statistics.median(ordered), low, high, ordered[0], len(ordered))

    def to_json(self) -> dict[str, float | int]:
        """In microseconds."""
        microseconds = {name: 1e6 * getattr(self, name) for name in ("median", "low", "high", "least")}
        return {**{name: round(value, 3) for name, value in microseconds.items()}, "rounds": self.rounds}


def once(clock: Clock, candidate: Candidate) -> float:
    """Seconds a call of one replay, by the device's clock."""
    start = clock.record()
    candidate.replay()
    end = clock.record()
    clock.synchronize()
    return clock.elapsed(start, end) / candidate.calls


def quick(clock: Clock, candidate: Candidate, repeats: int = 5) -> float:
    """Seconds a call, the median of a few replays after one to warm up: for choosing, not for reporting."""
    candidate.replay()
    return statistics.median(once(clock, candidate) for _ in range(repeats))


def in_turn(
    clock: Clock, candidates: list[Candidate], seconds: float, least_rounds: int = 11, most_rounds: int = 400
) -> dict[str, Times]:
    """Times of every candidate, measured in turn for so long by the host's clock.

    Each round begins with another candidate, so that none always follows the same one.
    """
    for candidate in candidates:
        candidate.replay()
    clock.synchronize()
    times: dict[str, list[float]] = {c.name: [] for c in candidates}
    end = clock.now() + seconds
    for turn in range(most_rounds):
        if turn >= least_rounds and clock.now() >= end:
            break
        first = turn % len(candidates) if candidates else 0
        for candidate in candidates[first:] + candidates[:first]:
            times[candidate.name].append(once(clock, candidate))
    return {name: Times.of(values) for name, values in times.items() if values}


def calls_for(seconds_a_call: float, sets: int, least_seconds: float = 300e-6, most: int = 256) -> int:
    """How many calls to put into one replay: whole turns through the sets, long against the start of a graph."""
    turns = max(1, -(-int(least_seconds * 1e9) // max(1, int(sets * seconds_a_call * 1e9))))
    return max(sets, min(turns * sets, most // sets * sets))


def sets_for(bytes_a_set: int, cache_bytes: int, most: int = 32) -> int:
    """How many sets of arrays to go through so that none is still in the cache when its turn comes again."""
    return max(2, min(most, -(-3 * cache_bytes // max(1, bytes_a_set))))
