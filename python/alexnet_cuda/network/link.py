"""The link between two towers: each sends the other its half, beside the kernels of both."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from .tower import Array, Arrival, Tower


class Link:
    """Sends halves between two towers; ``moved[name]`` is the floats a direction of a stage's last exchange."""

    def __init__(self, towers: list[Tower]) -> None:
        self.towers = towers
        self.moved: Counter[str] = Counter()
        self._begun: list[Any] = []
        towers[0].device.enable_peer(towers[1].device)
        towers[1].device.enable_peer(towers[0].device)

    def begin(self) -> None:
        """Begin a pass: what the last one sent may be overwritten when both towers are done with it."""
        self._begun = [tower.device.record() for tower in self.towers]
        for tower in self.towers:
            for event in self._begun:
                tower.device.wait(event)

    def exchange(self, name: str, halves: list[Array]) -> list[Arrival]:
        """Send each tower's array to the other; returns what each will get."""
        arrivals: list[Arrival] = []
        for receiver, sender in zip(self.towers, reversed(self.towers), strict=True):
            half = halves[sender.index]
            made = receiver.device.allocations
            target = receiver.buffer(f"{name}.received", half.shape, half.dtype)
            after = [sender.device.record(), *self._begun]
            if receiver.device.allocations != made:
                # Its memory may be what the receiver's kernels gave up in this pass and still work on.
                after.append(receiver.device.record())
            event = sender.device.send(target, half, after)
            arrivals.append(Arrival(target, event))
        self.moved[name] = math.prod(halves[1].shape)
        return arrivals
