"""What runs kernels: how an operation of an extension is called, and which runtime is active in a thread."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

Array = Any  # a CuPy array or a SimtArray
Addresses = dict[str, int]


class Tensor(NamedTuple):
    """What an extension is told of an array: `Tensor` of ``csrc/bindings/tensor.h``.

    Attributes
    ----------
    name : str
        The parameter's, for errors.
    address : int
        0 for an empty array.
    dtype : str
    shape : tuple of int
    pitch : int
        Elements from one row of the last dimension to the next; 0 where the array is dense.
    """

    name: str
    address: int
    dtype: str
    shape: tuple[int, ...]
    pitch: int = 0


class Runtime(ABC):
    """Runs kernels: an extension, the memory that they work on, and the stream that they are put on.

    Attributes
    ----------
    kind : {"cuda", "simt"}
    preallocating : bool
        Whether work is only gone through: arrays are made, nothing is put on a stream.
    """

    kind: str
    preallocating = False

    @property
    @abstractmethod
    def module(self) -> Any:
        """The extension."""

    @abstractmethod
    def addresses(self, arrays: dict[str, Array | None]) -> Addresses:
        """The address of each array, 0 for None and for empty ones; ValueError for one that is elsewhere."""

    def tensors(self, arrays: dict[str, Array | None]) -> dict[str, Tensor | None]:
        """Each array as the extension takes it, None for None; errors as `addresses`."""
        addresses = self.addresses(arrays)
        return {
            n: None if a is None else Tensor(n, addresses[n], dtype_name(a.dtype), a.shape, pitch_of(a))
            for n, a in arrays.items()
        }

    @abstractmethod
    def empty(self, shape: tuple[int, ...] | int, dtype: Any) -> Array:
        """An uninitialised array."""

    @abstractmethod
    def upload(self, target: Array, host: np.ndarray[Any, Any]) -> None:
        """Copy from the host, in the stream's order; `host` may be changed as soon as this returns."""

    @abstractmethod
    def submit(self, work: Callable[..., object], arrays: tuple[Array | None, ...] = ()) -> None:
        """Have `work`, which takes a stream's address as `stream`, done after all that was submitted before it.

        `arrays` are what it works on, to be kept until it is done.
        """

    def recording(self) -> bool:
        """Whether what is submitted now is not done but recorded as a graph."""
        return False

    def workspace(self, size: int) -> Array | None:
        """So many bytes that no other kernel uses before the next one submitted has ended; None for none."""
        return self.empty(size, np.uint8) if size else None

    def call(self, name: str, arrays: dict[str, Array | None], **options: Any) -> None:
        """Submit an operation of the extension."""
        work = partial(getattr(self.module, name), **self.tensors(arrays), **options)
        if not self.preallocating:
            self.submit(work, tuple(arrays.values()))

    def prepare(self, name: str, arrays: dict[str, Array | None], **options: Any) -> Callable[..., None]:
        """An operation of the extension, to be submitted often: each call gives the arrays that are new, by name."""
        work = partial(getattr(self.module, name), **self.tensors(arrays), **options)

        def submit(**new: Array) -> None:
            whole = partial(work, **self.tensors(new))
            if not self.preallocating:
                self.submit(whole, (*arrays.values(), *new.values()))

        return submit

    @contextmanager
    def preallocation(self) -> Iterator[None]:
        """A context in which work is only gone through: afterwards all memory that it takes is there, or it is known
        that there is not enough, before any of it has changed anything."""
        before, self.preallocating = self.preallocating, True
        try:
            yield
        finally:
            self.preallocating = before

    def from_host(self, name: str, values: np.ndarray[Any, Any]) -> Array:
        """A copy of `values`, an argument of an operation, in device memory.

        Raises
        ------
        RuntimeError
            A graph is being recorded: it would copy at each launch from memory that is freed when this call ends.
        """
        if self.recording():
            raise RuntimeError(
                f"{name} is on the host while a CUDA graph is being recorded, whose launches would copy it from memory "
                f"that is free by then; pass an array of {values.dtype} {list(values.shape)} in device memory, which "
                "each launch reads"
            )
        array = self.empty(values.shape, values.dtype)
        self.upload(array, values)
        return array

    def in_device_memory(self, name: str, value: Any, dtype: str) -> Array:
        """`value` as an array of one element; an array is taken as it is, so that a captured graph reads it anew.

        Raises
        ------
        ValueError
            An array that has another dtype or more than one element.
        RuntimeError
            As `from_host`.
        """
        if not hasattr(value, "dtype") or isinstance(value, np.generic):
            return self.from_host(name, np.full(1, value, dtype))
        if value.size != 1 or value.dtype.name != dtype:
            raise ValueError(f"{name} must be one {dtype}, got {value.dtype} of shape {list(value.shape)}")
        return value


@cache
def dtype_name(dtype: np.dtype[Any]) -> str:
    """NumPy composes the name anew each time."""
    return str(dtype.name)


_active = threading.local()


class activated:
    """Let `runtime` run the kernels of its kind of arrays, in this thread, while the context lasts."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def __enter__(self) -> None:
        """Begin; a generator's context would take several times as long, and a step enters a few."""
        _active.__dict__.setdefault("stack", []).append(self._runtime)

    def __exit__(self, *error: object) -> None:
        """End."""
        _active.stack.pop()


def active_runtime() -> Runtime | None:
    """The last one to be activated in this thread."""
    stack = _active.__dict__.get("stack")
    return stack[-1] if stack else None


def active_runtimes() -> Sequence[Runtime]:
    """Those that are active in this thread, the first to be activated first."""
    stack: Sequence[Runtime] = _active.__dict__.get("stack", ())
    return stack


def pitch_of(array: Array) -> int:
    """Elements from one row of the last dimension to the next; 0 where the array is dense, as the extension has it."""
    if array.flags.c_contiguous or array.ndim < 2:
        return 0
    return int(array.strides[-2]) // int(array.itemsize)
