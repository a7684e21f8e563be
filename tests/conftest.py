"""Tests say where they run; what does not say so runs on the CPU, on machines with a GPU too.

The executor's sums lose what a tensor core's lose, so that bounds used on a GPU hold there; what asks for exact ones
(`tests.ops.backends.mma_sums`) runs as users' models do.
"""

from __future__ import annotations

import os

import pytest

os.environ.setdefault("ALEXNET_CUDA_SIMT_MMA", "truncated")


@pytest.fixture(autouse=True)
def _cpu_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alexnet_cuda.devices.default_device", lambda precision: "cpu")
