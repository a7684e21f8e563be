"""ReLU on the GPU."""

from __future__ import annotations

from ._runtime import Array, addresses, extension, stream


def fprop(x: Array, out: Array) -> None:
    """Write ``max(x, 0)`` to `out`, which may be `x`."""
    extension().relu_fprop(**addresses(x=x, y=out), count=x.size, dtype=x.dtype.name, stream=stream())


def bprop(dy: Array, y: Array, out: Array) -> None:
    """Write `dy` where the output `y` is positive, else 0, to `out`, which may be `dy`."""
    extension().relu_bprop(**addresses(y=y, dy=dy, dx=out), count=y.size, dtype=y.dtype.name, stream=stream())
