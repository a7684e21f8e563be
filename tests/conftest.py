"""Tests say where they run; what does not say so runs on the CPU, on machines with a GPU too."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _cpu_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alexnet_cuda.devices.default_device", lambda precision: "cpu")
