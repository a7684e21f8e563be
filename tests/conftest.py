"""Tests say where they run; what does not say so runs on the CPU, on machines with a GPU too.

With `default_is_simt` on PYTHONPATH this machine is such a one: CI runs all tests so once more.

The executor's sums lose what a tensor core's lose, so that bounds used on a GPU hold there; what asks for exact ones
(`tests.ops.backends.mma_sums`) runs as users' models do.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest

os.environ.setdefault("ALEXNET_CUDA_SIMT_MMA", "truncated")
if "PYTEST_XDIST_WORKER" in os.environ:
    # A process a core: threads of their own would only wait for each other. Tests of threads name their number.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("ALEXNET_CUDA_SIMT_THREADS", "1")


@pytest.fixture(autouse=True)
def _nothing_said_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said once a process is said once a test."""
    monkeypatch.setattr("alexnet_cuda.base.notices._said", set())


_ON_GPU = re.compile(r"\[(.*-)?cuda(-|,|\])")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what runs on a GPU, as its id says."""
    if _ON_GPU.search(item.nodeid):
        item.add_marker("gpu")


@pytest.fixture(scope="session", autouse=True)
def _cpu_by_default() -> Iterator[None]:
    """Of the session, since other fixtures of a session or a module are set up before any of a function."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("alexnet_cuda.backends.devices.default_device", lambda precision: "cpu")
        yield
