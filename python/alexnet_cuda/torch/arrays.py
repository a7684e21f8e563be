"""Tensors as arrays of the package, and kernels in PyTorch's streams and memory; nothing here copies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import ml_dtypes
import numpy as np
import torch
from torch import Tensor

from ..backends.cuda.runtime import CudaRuntime
from ..backends.runtime import activated

Array = Any

_NUMPY = {
    torch.float32: np.dtype(np.float32),
    torch.float64: np.dtype(np.float64),
    torch.float16: np.dtype(np.float16),
    torch.bfloat16: np.dtype(ml_dtypes.bfloat16),
    torch.uint8: np.dtype(np.uint8),
    torch.int64: np.dtype(np.int64),
}


def place(tensor: Tensor) -> AbstractContextManager[Callable[[Tensor], Array]]:
    """A context in which operations run where a tensor is, in its device's current stream.

    It gives the function from C-contiguous tensors there to arrays.

    Raises
    ------
    TypeError
        A tensor neither on the CPU nor on an NVIDIA GPU.
    """
    kind = tensor.device.type
    if kind == "cpu":
        return nullcontext(_on_host)
    if kind == "cuda":
        return _on_gpu(tensor.device, tensor.device.index)
    raise TypeError(f"expected a tensor on the CPU or on an NVIDIA GPU, got one on {tensor.device}")


def _dtype(tensor: Tensor) -> Any:
    if tensor.dtype not in _NUMPY:
        raise TypeError(f"expected a tensor of float32, float64, float16 or bfloat16, got {tensor.dtype}")
    return _NUMPY[tensor.dtype]


def _on_host(tensor: Tensor) -> Array:
    if tensor.dtype == torch.bfloat16:  # which NumPy has by ml_dtypes alone
        return tensor.detach().view(torch.int16).numpy().view(_dtype(tensor))
    return tensor.detach().numpy()


@contextmanager
def _on_gpu(device: Any, number: int) -> Iterator[Callable[[Tensor], Array]]:
    import cupy

    def array(tensor: Tensor) -> Array:
        """CuPy's array on the tensor's memory. Told where that is, CuPy asks nobody and waits for nothing."""
        if tensor.device != device:
            raise ValueError(f"all tensors must be on {device}, got one on {tensor.device}")
        size = tensor.numel() * tensor.element_size()
        memory = cupy.cuda.UnownedMemory(tensor.data_ptr(), size, tensor, device_id=number)
        return cupy.ndarray(tuple(tensor.shape), _dtype(tensor), memptr=cupy.cuda.MemoryPointer(memory, 0))

    with cupy.cuda.Device(number), activated(_TorchRuntime(device, array)):
        yield array


class _TorchRuntime(CudaRuntime):
    """Kernels in PyTorch's current stream; what they need beside their arrays is PyTorch's memory, of that stream."""

    def __init__(self, device: Any, array: Callable[[Tensor], Array]) -> None:
        self._device, self._array = device, array

    def empty(self, shape: tuple[int, ...] | int, dtype: Any) -> Array:
        known = {numpy: of_torch for of_torch, numpy in _NUMPY.items()}
        return self._array(torch.empty(shape, dtype=known[np.dtype(dtype)], device=self._device))

    def stream(self) -> int:
        return int(torch.cuda.current_stream(self._device).cuda_stream)
