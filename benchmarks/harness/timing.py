"""Interleaved timing: round after round every candidate runs once, so that whatever the card does hits all alike.

The device is anything with `record`, `elapsed`, `synchronize` and `now` (see `device.py`), so this runs without a GPU.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .results import Record


@dataclass
class Candidate:
    """Something to time: `replay` enqueues `calls` calls, as a rule by launching a CUDA graph."""

    name: str
    replay: Callable[[], Any]
    calls: int = 1


def summary(seconds: list[float]) -> Record:
    """Median, first and last decile and least of times, in microseconds, and how many there are."""
    ordered = sorted(seconds)
    last = len(ordered) - 1
    low, high = ordered[round(0.1 * last)], ordered[round(0.9 * last)]
    times = {"median": statistics.median(ordered), "low": low, "high": high, "least": ordered[0]}
    return {**{name: round(1e6 * value, 3) for name, value in times.items()}, "rounds": len(ordered)}


def provisional(seconds: float) -> Record:
    """As `summary`, of a few replays that only chose."""
    return {"median": round(1e6 * seconds, 3), "rounds": 5, "provisional": True}


def once(clock: Any, candidate: Candidate) -> float:
    """Seconds a call of one replay, by the device's clock."""
    start = clock.record()
    candidate.replay()
    end = clock.record()
    clock.synchronize()
    return float(clock.elapsed(start, end)) / candidate.calls


def quick(clock: Any, candidate: Candidate, repeats: int = 5) -> float:
    """Seconds a call, the median of a few replays after one to warm up: for choosing, not for reporting."""
    candidate.replay()
    return statistics.median(once(clock, candidate) for _ in range(repeats))


def interleaved(
    clock: Any, candidates: list[Candidate], seconds: float, least_rounds: int = 11, most_rounds: int = 400
) -> dict[str, Record]:
    """The summary of every candidate's times, of as many rounds as the seconds of the host's clock allow.

    Each round begins with another candidate, so that none always follows the same one.
    """
    for candidate in candidates:
        candidate.replay()
    clock.synchronize()
    times: dict[str, list[float]] = {c.name: [] for c in candidates}
    end = clock.now() + seconds
    for number in range(most_rounds if candidates else 0):
        if number >= least_rounds and clock.now() >= end:
            break
        first = number % len(candidates)
        for candidate in candidates[first:] + candidates[:first]:
            times[candidate.name].append(once(clock, candidate))
    return {name: summary(values) for name, values in times.items()}


def calls_for(seconds_a_call: float, sets: int, least_seconds: float = 300e-6, most: int = 256) -> int:
    """How many calls to put into one replay: whole passes through the sets, long against the start of a graph."""
    passes = max(1, -(-int(least_seconds * 1e9) // max(1, int(sets * seconds_a_call * 1e9))))
    return max(sets, min(passes * sets, most // sets * sets))


def sets_for(bytes_a_set: int, cache_bytes: int, most: int = 32) -> int:
    """How many sets of arrays to go through so that none is still in the cache when it is used again."""
    return max(2, min(most, -(-3 * cache_bytes // max(1, bytes_a_set))))
