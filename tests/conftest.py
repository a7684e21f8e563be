"""Tests say where they run; what does not say so runs on the CPU, on machines with a GPU too.

With `default_is_simt` on PYTHONPATH this machine is such a one: CI runs all tests so once more.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _cpu_by_default() -> Iterator[None]:
    """Of the session, since other fixtures of a session or a module are set up before any of a function."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("alexnet_cuda.devices.default_device", lambda precision: "cpu")
        yield
