"""Hyperbolic tangent."""

from __future__ import annotations

from ._runtime import Array, runtime_of


def fprop(x: Array, out: Array) -> None:
    """Write ``tanh(x)`` to `out`, which may be `x`."""
    runtime_of(x).call("tanh_fprop", {"x": x, "y": out}, count=x.size, dtype=x.dtype.name)


def bprop(dy: Array, y: Array, out: Array) -> None:
    """Write ``dy (1 - y^2)``, from the output `y`, to `out`, which may be `dy`."""
    runtime_of(y).call("tanh_bprop", {"y": y, "dy": dy, "dx": out}, count=y.size, dtype=y.dtype.name)
