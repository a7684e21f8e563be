"""ReLU."""

from __future__ import annotations

from ._runtime import Array, runtime_of


def fprop(x: Array, out: Array) -> None:
    """Write ``max(x, 0)`` to `out`, which may be `x`."""
    runtime_of(x).call("relu_fprop", {"x": x, "y": out}, count=x.size, dtype=x.dtype.name)


def bprop(dy: Array, y: Array, out: Array) -> None:
    """Write `dy` where the output `y` is positive, else 0, to `out`, which may be `dy`."""
    runtime_of(y).call("relu_bprop", {"y": y, "dy": dy, "dx": out}, count=y.size, dtype=y.dtype.name)
