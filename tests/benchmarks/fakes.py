"""A device that is a clock: every replay takes the time it is told to, so timing is exact and repeatable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.harness.device import Captured
from benchmarks.harness.host import HostDevice


class FakeDevice(HostDevice):
    """Arrays of the host, time of its own. `spend` is what a fake kernel calls."""

    def __init__(self) -> None:
        self.time = 0.0
        self.lost = False
        self.captures = 0

    def spend(self, seconds: float) -> None:
        self.time += seconds

    def record(self) -> float:
        return self.time

    def now(self) -> float:
        return self.time

    def synchronize(self) -> None:
        if self.lost:
            raise RuntimeError("cudaErrorIllegalAddress")

    def capture(self, function: Callable[[], Any]) -> Captured:
        self.captures += 1
        function()
        dot = 'label="{KERNEL\n| {ID | 0 (topoId: 3) | fake\\<\\<\\<1,1,0\\>\\>\\>}\n'
        return Captured(function, lambda: dot)
