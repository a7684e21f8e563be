"""Hyperbolic tangent on the GPU."""

from __future__ import annotations

from ._runtime import Array, addresses, extension, stream


def fprop(x: Array, out: Array) -> None:
    """Write ``tanh(x)`` to `out`, which may be `x`."""
    extension().tanh_fprop(**addresses(x=x, y=out), count=x.size, dtype=x.dtype.name, stream=stream())


def bprop(dy: Array, y: Array, out: Array) -> None:
    """Write ``dy (1 - y^2)``, from the output `y`, to `out`, which may be `dy`."""
    extension().tanh_bprop(**addresses(y=y, dy=dy, dx=out), count=y.size, dtype=y.dtype.name, stream=stream())
