"""The backends and precisions that every operation is tested on; the fixtures are in conftest.py."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .tolerance import PRECISIONS, TENSOR_CORES, Precision

Array = npt.NDArray[Any]

# Of the executor: the seed that its threads and blocks are scheduled by, and the end of its buffers that lies next to
# memory that cannot be touched. The first is what tests run under that do not ask for others.
_SCHEDULES = ((0, "end"), (1, "start"), (2, "end"))


@dataclass(frozen=True)
class Backend:
    """Where operations run: how arrays get there and back, and which precisions it offers.

    Attributes
    ----------
    precisions : tuple of Precision
        That arrays can be of.
    products : tuple of Precision
        That convolutions and fully connected layers multiply in.
    layers : tuple of Precision
        That these are tested in at AlexNet's own size.
    """

    name: str
    precisions: tuple[Precision, ...]
    products: tuple[Precision, ...]
    layers: tuple[Precision, ...]
    to_device: Callable[[Array], Any]
    to_host: Callable[[Any], Array]

    @property
    def kernels(self) -> bool:
        """Whether the hand-written kernels run here."""
        return self.name not in ("cpu", "numpy")

    @property
    def extension(self) -> Any:
        """Of a backend with kernels, the extension that has them."""
        return importlib.import_module("alexnet_cuda." + {"simt": "_simt", "cuda": "_cuda"}[self.name])

    def poisoned(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Any:
        """An array to write to, full of NaN (of 255, if it holds bytes), so that what is left unwritten shows."""
        dtype = np.dtype(dtype)
        return self.to_device(np.full(shape, 255 if dtype.kind == "u" else np.nan, dtype))

    def shifted(self, values: Array) -> Any:
        """A copy on the device that begins one element past a multiple of 16 bytes."""
        flat = np.concatenate([np.zeros(1, values.dtype), values.reshape(-1)])
        return self.to_device(flat)[1:].reshape(values.shape)

    def channel_range(self, values: Array, first: int, channels: int) -> ChannelRange:
        """`values` as the range from `first` on of an array that has so many channels, on the device."""
        columns = values.shape[-1]
        host = np.full((*values.shape[:-1], channels), np.nan, values.dtype)
        host[..., first : first + columns] = values
        whole = self.to_device(host)
        return ChannelRange(self, whole, whole[..., first : first + columns], slice(first, first + columns))

    def bits(self, array: Any) -> bytes:
        """Every bit of an array."""
        return np.ascontiguousarray(self.to_host(array)).tobytes()

    def schedules(self) -> Iterator[None]:
        """Runs the body of a loop under different circumstances, none of which may change a bit of a result."""
        for number in range(len(_SCHEDULES)):
            with self._schedule(number):
                yield

    @contextmanager
    def _schedule(self, number: int) -> Iterator[None]:
        if self.name != "simt":
            yield
            return
        before, placement = self.extension.seed(), os.environ.get("ALEXNET_CUDA_SIMT_PLACEMENT")
        seed, os.environ["ALEXNET_CUDA_SIMT_PLACEMENT"] = _SCHEDULES[number]
        self.extension.set_seed(value=seed)
        try:
            yield
        finally:
            self.extension.set_seed(value=before)
            del os.environ["ALEXNET_CUDA_SIMT_PLACEMENT"]
            if placement is not None:
                os.environ["ALEXNET_CUDA_SIMT_PLACEMENT"] = placement


@dataclass(frozen=True)
class ChannelRange:
    """A range of the channels of a wider array on a device; the others are NaN."""

    backend: Backend
    whole: Any
    array: Any
    columns: slice

    def to_host(self) -> Array:
        """The range, after a look at the channels beside it: nothing may have been written there."""
        whole = self.backend.to_host(self.whole)
        beside = np.delete(whole, np.arange(whole.shape[-1])[self.columns], axis=-1)
        assert np.isnan(beside).all(), "numbers beside a range of channels were overwritten"
        return np.ascontiguousarray(whole[..., self.columns])


@contextmanager
def mma_sums(name: str) -> Iterator[None]:
    """How the executor's `mma` adds, "exact" or "truncated", for as long as this lasts."""
    extension = importlib.import_module("alexnet_cuda._simt")
    before = extension.mma_sums()
    extension.set_mma_sums(value=name)
    try:
        yield
    finally:
        extension.set_mma_sums(value=before)


def assert_repeats(backend: Backend, run: Callable[[], Sequence[Any]]) -> None:
    """Require the same bits of all that `run`, which allocates what it uses, returns, however it is scheduled."""
    first: list[bytes] | None = None
    for _ in backend.schedules():
        now = [backend.bits(array) for array in run()]
        assert first is None or now == first
        first = now


def assert_alignment_changes_nothing(
    backend: Backend, arrays: dict[str, Array], run: Callable[..., Sequence[Any]]
) -> None:
    """Require the same bits of what `run` returns if one of the arrays that it gets lies on no multiple of 16 bytes."""
    expected: list[bytes] | None = None
    for shifted in (None, *arrays):
        on_device = {n: (backend.shifted if n == shifted else backend.to_device)(a) for n, a in arrays.items()}
        now = [backend.bits(array) for array in run(**on_device)]
        assert expected is None or now == expected, f"with {shifted} shifted"
        expected = now


def _host(name: str) -> Backend:
    """Arrays of main memory: "cpu" is what users get, by `_cpu`, "numpy" the same without it (see conftest.py)."""
    single = (PRECISIONS["float32"],)
    # float64 is the reference itself; it is held against loops and differences in the tests named "reference".
    return Backend(name, single, single, single, lambda array: np.array(array, order="C"), np.asarray)


def _simt() -> Backend:
    from alexnet_cuda.backends.simt.memory import to_host, to_simt

    precisions = tuple(TENSOR_CORES[name] for name in ("float32", "bfloat16", "float16"))
    layers = (TENSOR_CORES["bfloat16"],)  # of float32 tests/model/test_whole_network.py holds each layer so
    return Backend("simt", precisions, tuple(TENSOR_CORES.values()), layers, to_simt, to_host)


def _cuda() -> Backend:
    import cupy

    from alexnet_cuda.backends.kernels._runtime import default_runtime

    def to_device(host: Array) -> Any:
        values = np.asarray(host, order="C")
        array = default_runtime("cuda").empty(values.shape, values.dtype)
        if values.size:
            default_runtime("cuda").upload(array, values)
        return array

    def to_host(array: Any) -> Array:
        host = np.empty(array.shape, array.dtype)
        cupy.cuda.get_current_stream().synchronize()
        if host.size:
            to_host = cupy.cuda.runtime.memcpyDeviceToHost
            cupy.cuda.runtime.memcpy(host.ctypes.data, array.data.ptr, host.nbytes, to_host)
        return host

    precisions = tuple(TENSOR_CORES[name] for name in ("float32", "bfloat16", "float16"))
    products = tuple(TENSOR_CORES.values())
    return Backend("cuda", precisions, products, products, to_device, to_host)


def _has_gpu() -> bool:
    """Asked of the extension, which needs no driver, and not of CuPy, which takes a second to import."""
    try:
        extension = importlib.import_module("alexnet_cuda._cuda")
    except ModuleNotFoundError:  # built with ALEXNET_CUDA_BUILD=cpu
        return False
    return extension.driver_version() > 0 and extension.device_count() > 0


BACKENDS = {
    backend.name: backend for backend in [_host("cpu"), _host("numpy"), _simt(), *([_cuda()] if _has_gpu() else [])]
}
