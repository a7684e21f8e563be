"""What a device that a tower lives on offers: `CpuDevice`, `CudaDevice` and `SimtDevice` do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy.typing as npt

Array = Any  # of the device: a NumPy, CuPy or SimtArray
Mark = Any  # a place in a stream of work, which others can wait for


class Device(Protocol):
    """Memory, operations on it in the order in which they are called, and copies beside them."""

    name: str
    kind: str  # as `alexnet_cuda.base.array.array_kind` has it
    precisions: tuple[str, ...]
    folds_input: bool  # the first convolution wants the images folded: `alexnet_cuda.ops.conv2d.folded_layout`
    graphs: bool  # `run` may record work and repeat it
    allocations: int  # arrays made so far
    preallocating: bool  # work is only gone through, to make its arrays

    def active(self) -> AbstractContextManager[None]:
        """A context in which operations run on this device; a RuntimeError where somebody else records a graph."""

    def preallocation(self) -> AbstractContextManager[None]:
        """A context in which work is only gone through; see `Runtime.preallocation`."""

    def run(self, key: tuple[Any, ...], body: Callable[[], object], *others: Any) -> None:
        """Do a pass's work, of this device and `others`; one may record what `body` does and repeat it for a key."""

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """An uninitialised array; a DeviceMemoryError where there is no room."""

    def zero(self, array: Array) -> None:
        """Fill with zeros."""

    def copy(self, target: Array, source: Array) -> None:
        """Copy within this device; both are C-contiguous."""

    def upload(self, target: Array, host: npt.NDArray[Any]) -> None:
        """Copy from the host without waiting; `host` may be changed as soon as this returns."""

    def download(self, array: Array) -> npt.NDArray[Any]:
        """A copy on the host, when all work so far is done."""

    def fetch(self, array: Array) -> Callable[[], npt.NDArray[Any]]:
        """Begin to copy to the host what the array holds when the work so far is done; the result waits for it."""

    def pinned(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Any:
        """Host memory for `bring`, a `PinnedArray`."""

    def bring(self, target: Array, host: Any, after: Mark) -> None:
        """Copy from such memory beside the kernels, once the mark is reached; later kernels find it."""

    def adopt(self, array: Any) -> Array | None:
        """A foreign array as one of this device's own, without a copy if it is dense; None where it is elsewhere."""

    def await_owner(self) -> None:
        """Let later kernels begin only after what the owner of adopted arrays has queued so far."""

    def hand_back(self, arrays: Sequence[Array], mark: Mark) -> None:
        """Let what the owner of adopted arrays queues from now on begin only after the mark."""

    def record(self) -> Mark:
        """A mark after the work so far, on the stream of the kernels."""

    def wait(self, mark: Mark) -> None:
        """Let later kernels begin only after the mark of this or another device."""

    def send(self, target: Array, source: Array, after: Sequence[Mark]) -> Mark:
        """Copy `source`, of this device, to `target`, of another, once the marks are reached; returns a mark after it.

        The copy runs beside the kernels of both, after those that were sent before it.
        """

    def enable_peer(self, peer: Any) -> bool:
        """Have copies to a peer go directly; False where they cannot."""

    def memory(self) -> tuple[int, int] | None:
        """Bytes free and in all, None where that is nobody's limit."""
