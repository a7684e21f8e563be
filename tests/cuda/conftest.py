from __future__ import annotations

import pytest

from .standin import Driver


@pytest.fixture
def install_driver(monkeypatch):
    """A function that puts a stand-in driver with so many GPUs in place, its streams in an order by seed."""
    drivers = []

    def install(count: int = 2, order: int = 0) -> Driver:
        driver = Driver(count, order)
        driver.install(monkeypatch)
        drivers.append(driver)
        return driver

    yield install
    for driver in drivers:
        driver.close()
