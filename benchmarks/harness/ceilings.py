"""What the device reaches on its two simplest tasks, and how long a kernel's start takes; measured in every run."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from . import timing
from .cases import DTYPES, PRECISIONS, Tensor
from .roofline import Ceilings

_SIDE = {"float32": 4096}  # of the square matrices; 8192 where the tensor cores multiply
_COPIES, _PRODUCTS, _LAUNCHES = 20, 10, 500


def measure(device: Any) -> tuple[Ceilings, dict[str, Any]]:
    """The ceilings, and what gave each of them."""
    detail: dict[str, Any] = {}
    bandwidth = copy_bandwidth(device)
    flops = {}
    for precision in PRECISIONS:
        rates = matrix_rates(device, precision)
        best = max(rates, key=lambda name: rates[name])
        flops[precision] = rates[best]
        detail[precision] = {name: round(rate / 1e12, 1) for name, rate in rates.items()}
    launch, detail["launch_from_host_us"] = launch_seconds(device)
    source = f"measured: copy of {detail.setdefault('copy_bytes', _copy_bytes(device))} bytes, matrix products"
    return Ceilings(source, bandwidth, flops, launch), detail


def _copy_bytes(device: Any) -> int:
    return int(min(2 << 30, device.free_bytes() // 4) // 256 * 256)


def copy_bandwidth(device: Any) -> float:
    """Bytes read plus bytes written a second by a large copy."""
    size = _copy_bytes(device)
    source, target = (device.empty((size // 4,), "float32") for _ in range(2))
    device.fill(source, "copy", Tensor((size // 4,), "float32"), 0)

    def copy() -> None:
        target.data.copy_from_device_async(source.data, size)

    copy()
    times = [timing.once(device, timing.Candidate("copy", copy)) for _ in range(_COPIES)]
    return 2 * size / float(np.median(times))


def matrix_rates(device: Any, precision: str) -> dict[str, float]:
    """Operations a second of a large square product of random matrices, by library."""
    side, dtype = _SIDE.get(precision, 8192), DTYPES[precision]
    tensor = Tensor((side, side), dtype, -6, rounded="tf32" if precision == "tf32" else "")
    a, b, c = (device.empty((side, side), dtype) for _ in range(3))
    for name, array in (("a", a), ("b", b)):
        device.fill(array, name, tensor, 0)
    rates, reasons = {}, []
    for name, make in (("cuBLAS", _cublas), ("PyTorch", _torch)):
        try:
            product = make(device, precision, a, b, c)
            product()
            times = [timing.once(device, timing.Candidate(name, product)) for _ in range(_PRODUCTS)]
            rates[name] = 2.0 * side**3 / float(np.median(times))
        except Exception as error:  # a library that is not there
            reasons.append(f"{name}: {error}")
    if not rates:
        raise RuntimeError(f"no library multiplies matrices here: {'; '.join(reasons)}")
    return rates


def _cublas(device: Any, precision: str, a: Any, b: Any, c: Any) -> Any:
    from ..opponents.cublas import gemm

    n = a.shape[0]
    return lambda: gemm(precision, (0, 0, n, n, n, n, n, n), a, b, c)


def _torch(device: Any, precision: str, a: Any, b: Any, c: Any) -> Any:
    from ..opponents.torch_ops import settings
    from ..opponents.torch_tensors import load, tensor

    torch = load()
    settings(torch, precision)
    x, y, z = (tensor(array) for array in (a, b, c))
    return lambda: torch.mm(x, y, out=z)


def launch_seconds(device: Any) -> tuple[float, float | None]:
    """Seconds from one tiny kernel to the next in a graph, and microseconds of our host code for one call."""
    from alexnet_cuda.ops import relu

    x = device.empty((32,), "float32")
    device.fill(x, "x", Tensor((32,), "float32"), 0)

    def many() -> None:
        for _ in range(_LAUNCHES):
            relu.fprop(x, out=x)

    captured = device.capture(many)
    inside = timing.quick(device, timing.Candidate("launch", captured.replay, _LAUNCHES))
    host = None
    with contextlib.suppress(Exception):
        device.synchronize()
        start = device.now()
        many()
        host = round(1e6 * (device.now() - start) / _LAUNCHES, 2)
        device.synchronize()
    return inside, host
