"""The CPU in the place of the GPU, for the self-check and the tests: same interface, NumPy arrays, no graphs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .cases import Tensor
from .device import Captured
from .values import Values, numpy_dtype


class HostDevice:
    """See `device.Device`; everything enqueued has happened when the call returns."""

    host = True
    cache_bytes = 1 << 20

    def free_bytes(self) -> int:
        """As if so much were free."""
        return 1 << 30

    def record(self) -> float:
        """Now."""
        return time.perf_counter()

    def elapsed(self, first: float, last: float) -> float:
        """Seconds between two events."""
        return last - first

    def synchronize(self) -> None:
        """Nothing is pending."""

    def now(self) -> float:
        """The host's clock."""
        return time.perf_counter()

    def stream(self) -> int:
        """No stream."""
        return 0

    def capture(self, function: Callable[[], Any]) -> Captured:
        """What calls the function again."""
        function()
        return Captured(function)

    def empty(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        """An array."""
        return np.empty(shape, numpy_dtype(dtype))

    def upload(self, host: np.ndarray) -> np.ndarray:
        """A copy."""
        return host.copy()

    def scalar(self, value: float) -> Any:
        """One float32."""
        return np.array([value], np.float32)

    def download(self, array: np.ndarray) -> np.ndarray:
        """A copy."""
        return array.copy()

    def poison(self, array: np.ndarray) -> None:
        """Fill with bytes of 255."""
        array.reshape(-1).view(np.uint8)[...] = 255

    def clear(self, array: np.ndarray) -> None:
        """Fill with zeros."""
        array.reshape(-1).view(np.uint8)[...] = 0

    def fill(self, array: np.ndarray, name: str, tensor: Tensor, set_index: int) -> None:
        """Fill with the random numbers of `Values`."""
        array[...] = Values(name, tensor, set_index).array()

    def release(self) -> None:
        """Nothing is cached."""
