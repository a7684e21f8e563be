"""How much of Python a recorded step takes: counted in calls, which no other load of the machine changes."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

from benchmarks import host_time


def test_recorded_passes_are_few_calls(monkeypatch):
    """Of Python and of the driver's, about 0.1 microseconds each.

    Not recorded a step of two towers is 22,000 calls.
    """
    host_time.install_idle_driver(monkeypatch)
    for name, work in host_time.cases(batch=1).items():
        for _ in range(host_time.WARM):
            work()
        calls = 0

        def count(frame: FrameType, event: str, argument: Any) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")

        sys.setprofile(count)
        try:
            work()
        finally:
            sys.setprofile(None)
        assert calls < 550, name
