"""Device arrays as PyTorch's tensors, over the same memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..harness.contest import Unavailable

HOW = "PyTorch is not installed: pip install torch"


def load(device: Any) -> Any:
    """PyTorch; `Unavailable` where it is not installed or sees no GPU, unless the CPU stands in for the device."""
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
        self.__cuda_array_interface__ = {
            "shape": tuple(array.shape),
            "typestr": _KINDS[array.dtype.itemsize],
            "data": (array.data.ptr, False),
            "strides": None,
            "version": 3,
        }


_KINDS = {1: "|u1", 2: "<i2", 4: "<f4", 8: "<i8"}


def tensor(array: Any) -> Any:
    """The tensor over a device array, or over NumPy's, of its dtype and shape."""
    import torch

    if isinstance(array, np.ndarray):
        raw = torch.from_numpy(array.view(_KINDS[array.dtype.itemsize]))
    else:
        raw = torch.as_tensor(_Raw(array), device="cuda")
    return raw.view(getattr(torch, array.dtype.name))


def download(value: Any) -> np.ndarray:
    """A tensor as a host array of its shape, bfloat16 included."""
    import torch

    value = value.detach().contiguous()
    if value.dtype == torch.bfloat16:
        return np.asarray(value.view(torch.int16).cpu().numpy().view("bfloat16"))
    return np.asarray(value.cpu().numpy())


def settings(torch: Any, precision: str) -> None:
    """cuDNN tries all its algorithms; TF32 only where it is measured; the compiler never falls back to eager.

    It would, silently, after compiling the same source for eight shapes.
    """
    for name in ("recompile_limit", "accumulated_recompile_limit"):
        if hasattr(torch._dynamo.config, name):
            setattr(torch._dynamo.config, name, 1 << 20)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.benchmark_limit = 0
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
