"""Device arrays as PyTorch's tensors, over the same memory."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from ..harness.bench import Unavailable

HOW = "PyTorch is not installed: pip install torch"


def load(device: Any = None) -> Any:
    """PyTorch, which sees the GPU; for a `HostDevice` it need not.

    Raises
    ------
    Unavailable
        It is not installed, or is built without CUDA.
    """
    try:
        import torch
    except ImportError as error:
        raise Unavailable(f"{HOW} ({error})") from error
    if not (torch.cuda.is_available() or getattr(device, "host", False)):
        raise Unavailable(f"PyTorch {torch.__version__} sees no GPU: its build or the driver is the wrong one")
    return torch


class _Raw:
    """Memory as the CUDA array interface describes it. bfloat16 has no code there: it goes as 16-bit integers."""

    def __init__(self, array: Any) -> None:
        self.owner = array
        kind = {1: "|u1", 2: "<i2", 4: "<f4", 8: "<i8"}[array.dtype.itemsize]
        shape = tuple(array.shape)
        self.__cuda_array_interface__ = {
            "shape": shape,
            "typestr": kind,
            "data": (array.data.ptr, False),
            "strides": None,
            "version": 3,
        }


def tensor(array: Any) -> Any:
    """The tensor over a device array, of its dtype and shape."""
    import torch

    if isinstance(array, np.ndarray):
        return torch.from_numpy(array)
    raw = torch.as_tensor(_Raw(array), device="cuda")
    dtype = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(array.dtype.name)
    return raw if dtype is None else raw.view(dtype)


def on_stream(pointer: int) -> Any:
    """A context in which PyTorch enqueues on that stream."""
    import torch

    if not pointer:
        return contextlib.nullcontext()
    return torch.cuda.stream(torch.cuda.ExternalStream(pointer))
