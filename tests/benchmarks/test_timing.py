"""Interleaved timing on a device that is a clock."""

from __future__ import annotations

import pytest
from benchmarks.harness.timing import Candidate, calls_for, interleaved, quick, sets_for, summary

from .fakes import FakeDevice


def candidates(device: FakeDevice, order: list[str], **seconds: float) -> list[Candidate]:
    def make(name: str, took: float) -> Candidate:
        def replay() -> None:
            order.append(name)
            device.spend(took)

        return Candidate(name, replay, calls=4)

    return [make(name, took) for name, took in seconds.items()]


def test_each_round_runs_every_candidate_once_and_begins_with_another():
    device, order = FakeDevice(), []
    times = interleaved(device, candidates(device, order, a=4.0, b=8.0, c=12.0), seconds=0.0, least_rounds=4)
    assert "".join(order) == "abc" + "abc" + "bca" + "cab" + "abc", "a warm-up, then rotating rounds"
    assert {name: t["median"] for name, t in times.items()} == {"a": 1e6, "b": 2e6, "c": 3e6}, "microseconds a call"
    assert all(t["rounds"] == 4 for t in times.values())


def test_it_lasts_as_long_as_asked():
    device, order = FakeDevice(), []
    times = interleaved(device, candidates(device, order, a=1.0, b=1.0), seconds=50.0, least_rounds=3)
    assert times["a"]["rounds"] == 25
    assert interleaved(device, candidates(device, order, a=1.0), seconds=1e9, most_rounds=7)["a"]["rounds"] == 7
    assert interleaved(device, [], seconds=1.0) == {}


def test_a_clock_that_slows_down_hits_all_alike():
    device, order = FakeDevice(), []
    made = candidates(device, order, a=1.0, b=1.0)
    for candidate in made:
        first = candidate.replay

        def slower(first: object = first) -> None:
            first()  # type: ignore[operator]
            device.spend(0.01 * len(order))

        candidate.replay = slower
    times = interleaved(device, made, seconds=0.0, least_rounds=40)
    assert times["a"]["median"] == pytest.approx(times["b"]["median"], rel=0.02)


def test_times():
    times = summary([5.0, 1.0, 2.0, 3.0, 4.0, 6.0, 7.0, 8.0, 9.0, 10.0, 100.0])
    assert times == {"median": 6e6, "low": 2e6, "high": 1e7, "least": 1e6, "rounds": 11}


def test_quick_warms_up_first():
    device, took = FakeDevice(), iter([100.0, 3.0, 1.0, 2.0])
    assert quick(device, Candidate("x", lambda: device.spend(next(took))), repeats=3) == 2.0


@pytest.mark.parametrize(
    ("seconds", "sets", "calls"), [(1e-6, 4, 256), (50e-6, 4, 8), (50e-6, 2, 6), (1e-3, 2, 2), (1e-6, 100, 200)]
)
def test_calls_are_whole_passes_through_the_sets(seconds, sets, calls):
    assert calls_for(seconds, sets) == calls
    assert calls % sets == 0


def test_sets_are_three_caches_together():
    assert sets_for(1 << 20, 50 << 20) == 32, "at most"
    assert sets_for(20 << 20, 50 << 20) == 8
    assert sets_for(500 << 20, 50 << 20) == 2, "at least"
