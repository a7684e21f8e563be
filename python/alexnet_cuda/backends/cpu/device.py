"""The CPU as a device that a tower can live on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt

from ...base.array import PinnedArray, array_kind, main_memory
from ...base.parallel import preallocation

Array = npt.NDArray[Any]


class CpuDevice:
    """Main memory and NumPy; see `alexnet_cuda.backends.protocol.Device`.

    All work is done when a call returns, so marks are None and there is nothing to wait for.
    """

    kind = "cpu"
    precisions: tuple[str, ...] = ("float32", "float64")
    folds_input = False
    graphs = True
    preallocating = False

    def __init__(self, name: str = "cpu") -> None:
        self.name = name
        self.allocations = 0

    def active(self) -> AbstractContextManager[None]:
        return nullcontext()

    def preallocation(self) -> AbstractContextManager[None]:
        return preallocation()

    def run(self, key: tuple[Any, ...], body: Callable[[], object], *others: CpuDevice) -> None:
        body()

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        self.allocations += 1
        return main_memory(shape, dtype)

    def zero(self, array: Array) -> None:
        array[...] = 0

    def copy(self, target: Array, source: Array) -> None:
        np.copyto(target, source, casting="unsafe")

    upload = copy

    def download(self, array: Array) -> Array:
        return np.array(array)

    def fetch(self, array: Array) -> Callable[[], Array]:
        copied = np.array(array)
        return lambda: copied

    def pinned(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> PinnedArray:
        return np.empty(shape, dtype).view(PinnedArray)

    def bring(self, target: Array, host: Array, after: None) -> None:
        self.copy(target, host)

    def adopt(self, array: Any) -> Array | None:
        return np.ascontiguousarray(array) if array_kind(array) == "cpu" else None

    def await_owner(self) -> None:
        pass

    def hand_back(self, arrays: Sequence[Array], mark: None) -> None:
        pass

    def record(self) -> None:
        return None

    def wait(self, mark: None) -> None:
        pass

    def send(self, target: Array, source: Array, after: Sequence[None]) -> None:
        self.copy(target, source)

    def enable_peer(self, peer: CpuDevice) -> bool:
        return True

    def memory(self) -> None:
        return None
