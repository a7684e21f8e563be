"""Ceilings of a device, the least time that work can take under them, and their measurement in every run.

Only the measurement needs a GPU.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import timing
from .cases import DTYPES, PRECISIONS, Tensor
from .contest import message_of

_SIDE = {"float32": 4096}  # of the square matrices; 8192 where the tensor cores multiply
_COPIES, _PRODUCTS, _LAUNCHES = 20, 10, 500


@dataclass(frozen=True)
class Ceilings:
    """What a device reaches on its two simplest tasks."""

    source: str  # of the numbers
    bandwidth: float  # of a large copy, bytes read plus bytes written a second
    flops: dict[str, float]  # of a large matrix product, floating-point operations a second, by precision
    launch: float = 0.0  # seconds from one small kernel to the next in a CUDA graph

    def __str__(self) -> str:
        rates = ", ".join(f"{name} {rate / 1e12:.0f}" for name, rate in self.flops.items())
        return f"{self.bandwidth / 1e12:.2f} TB/s (read and written), matrix products {rates} TFLOP/s"

    def floor(self, flops: float, nbytes: float, precision: str) -> tuple[float, str]:
        """The least microseconds of so many operations and bytes, and what sets them: "compute" or "memory".

        Where float32 is asked for, exact arithmetic may also go through the tensor cores in three TF32 products: the
        faster of the two counts.
        """
        rate = self.flops[precision]
        if precision == "float32":
            rate = max(rate, self.flops["tf32"] / 3)
        compute, memory = 1e6 * flops / rate, 1e6 * nbytes / self.bandwidth
        return max((compute, "compute"), (memory, "memory"))


# For predictions where nothing was measured: an H200's, as docs/kernels/ take them. TF32 as half of bfloat16; float32
# is the FMA units' rate, which exact arithmetic through three TF32 products may exceed.
NOMINAL = Ceilings(
    "nominal, an H200's",
    4.3e12,
    {"bfloat16": 790e12, "float16": 790e12, "tf32": 395e12, "float32": 67e12},
)


def measure(device: Any) -> tuple[Ceilings, dict[str, Any]]:
    """The ceilings, and what gave each of them."""
    size = int(min(2 << 30, device.free_bytes() // 4) // 256 * 256)
    detail: dict[str, Any] = {"copy_bytes": size}
    bandwidth = _bandwidth(device, size)
    flops = {}
    for precision in PRECISIONS:
        rates = _matrix_rates(device, precision)
        flops[precision] = max(rates.values())
        detail[precision] = {name: round(rate / 1e12, 1) for name, rate in rates.items()}
    launch, detail["launch_from_host_us"] = _launch_seconds(device)
    return Ceilings(f"measured: copy of {size} bytes, matrix products", bandwidth, flops, launch), detail


def _median(device: Any, function: Callable[[], Any], count: int) -> float:
    function()
    return float(np.median([timing.once(device, timing.Candidate("", function)) for _ in range(count)]))


def _bandwidth(device: Any, size: int) -> float:
    source, target = (device.empty((size // 4,), "float32") for _ in range(2))
    device.fill(source, "copy", Tensor("N", source.shape, "float32"), 0)
    return 2 * size / _median(device, lambda: target.data.copy_from_device_async(source.data, size), _COPIES)


def _matrix_rates(device: Any, precision: str) -> dict[str, float]:
    """Operations a second of a large square product of random matrices, by library."""
    side, dtype = _SIDE.get(precision, 8192), DTYPES[precision]
    tensor = Tensor("MN", (side, side), dtype, scale=-6, rounded="tf32" if precision == "tf32" else "")
    a, b, c = (device.empty((side, side), dtype) for _ in range(3))
    for name, array in (("a", a), ("b", b)):
        device.fill(array, name, tensor, 0)
    rates, reasons = {}, []
    for name, make in (("cuBLAS", _cublas), ("PyTorch", _torch)):
        try:
            rates[name] = 2.0 * side**3 / _median(device, make(device, precision, a, b, c), _PRODUCTS)
        except Exception as error:  # a library that is not there
            reasons.append(f"{name}: {message_of(error)}")
    if not rates:
        raise RuntimeError(f"no library multiplies matrices here: {'; '.join(reasons)}")
    return rates


def _cublas(device: Any, precision: str, a: Any, b: Any, c: Any) -> Callable[[], Any]:
    from ..opponents.cublas import gemm

    n = a.shape[0]
    return lambda: gemm(precision, (0, 0, n, n, n, n, n, n), a, b, c)


def _torch(device: Any, precision: str, a: Any, b: Any, c: Any) -> Callable[[], Any]:
    from ..opponents.torch_tensors import load, settings, tensor

    torch = load(device)
    settings(torch, precision)
    x, y, z = (tensor(array) for array in (a, b, c))
    return lambda: torch.mm(x, y, out=z)


def _launch_seconds(device: Any) -> tuple[float, float | None]:
    """Seconds from one tiny kernel to the next in a graph, and microseconds of our host code for one call."""
    from alexnet_cuda.ops import relu

    x = device.empty((32,), "float32")
    device.fill(x, "x", Tensor("N", (32,), "float32"), 0)

    def many() -> None:
        for _ in range(_LAUNCHES):
            relu.fprop(x, out=x)

    inside = timing.quick(device, timing.Candidate("", device.capture(many).replay, _LAUNCHES))
    with contextlib.suppress(Exception):
        device.synchronize()
        start = device.now()
        many()
        host = round(1e6 * (device.now() - start) / _LAUNCHES, 2)
        device.synchronize()
        return inside, host
    return inside, None
