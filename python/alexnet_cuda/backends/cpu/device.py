"""The CPU as a device that a tower can live on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt

from ..kernels._runtime import array_kind
from .parallel import rehearsal

Array = npt.NDArray[Any]


class CpuDevice:
    """Main memory and NumPy; all work is done when a call returns, so there is nothing to wait for.

    The attributes and methods are what every device offers to `alexnet_cuda.towers` and `alexnet_cuda.model`.

    Attributes
    ----------
    name : str
    kind : str
        As `alexnet_cuda.backends.kernels._runtime.array_kind` has it.
    precisions : tuple of str
    fuses_update : bool
        Whether the weights' gradient and their update are one operation, so that the gradient need not be stored.
    folds_input : bool
        Whether the first convolution wants the images folded: `alexnet_cuda.ops.conv2d.folded_layout`.
    allocations : int
        How many arrays were made so far.
    """

    kind = "cpu"
    precisions = ("float32", "float64")
    fuses_update = True
    folds_input = False

    def __init__(self, name: str = "cpu") -> None:
        self.name = name
        self.allocations = 0

    def active(self) -> AbstractContextManager[None]:
        """A context in which operations run on this device."""
        return nullcontext()

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """An uninitialised array."""
        self.allocations += 1
        return np.empty(shape, dtype)

    def zero(self, array: Array) -> None:
        """Fill with zeros."""
        array[...] = 0

    def upload(self, target: Array, host: Array) -> None:
        """Copy a host array to an array of this device; `host` may be changed as soon as this returns."""
        np.copyto(target, host, casting="unsafe")

    def download(self, array: Array) -> Array:
        """A copy on the host, when all work so far is done."""
        return np.array(array)

    def fetch(self, arrays: Sequence[Array]) -> Callable[[], list[Array]]:
        """Begin to copy to the host what the arrays hold when the work so far is done; the result waits for it."""
        copies = [np.array(array) for array in arrays]
        return lambda: copies

    def adopt(self, array: Any) -> Array | None:
        """A foreign array as one of this device's own, without a copy if it is dense; None where it is elsewhere."""
        return np.ascontiguousarray(array) if array_kind(array) == "cpu" else None

    def hand_back(self, array: Array, event: Any) -> None:
        """Let the owner of an adopted array go on with it after the mark."""

    def rehearsal(self) -> AbstractContextManager[None]:
        """A context in which work is only gone through, to make its arrays."""
        return rehearsal()

    def copy(self, target: Array, source: Array) -> None:
        """Copy within this device."""
        np.copyto(target, source)

    def run(self, key: tuple[Any, ...], body: Callable[[], None], *others: CpuDevice) -> None:
        """Do a pass's work, of this device and `others`; one may record what `body` does and repeat it for a key."""
        body()

    def record(self) -> Any:
        """A mark after the work so far, on the stream of the kernels."""
        return None

    def wait(self, event: Any) -> None:
        """Let later kernels begin only after the mark of this or another device."""

    def send(self, target: Array, source: Array, after: Sequence[Any]) -> Any:
        """Copy `source`, of this device, to `target`, of another, once the marks are reached; returns a mark after it.

        The copy runs beside the kernels of both.
        """
        np.copyto(target, source)
        return None

    def memory(self) -> tuple[int, int] | None:
        """Bytes free and in all, None where that is nobody's limit."""
        return None
