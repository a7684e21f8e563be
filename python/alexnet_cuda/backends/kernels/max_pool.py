"""Max-pooling; x [N, H, W, C], y [N, P, Q, C]."""

from __future__ import annotations

from ...base.array import Array
from ...base.params import PoolParams
from ._runtime import runtime_of


def fprop(x: Array, pool: PoolParams, out: Array, argmax: Array | None) -> None:
    """Write the maxima to `out` and, where given, the first tap that holds each (row * size + column) to `argmax`."""
    runtime_of(x).call("max_pool_fprop", {"x": x, "y": out, "argmax": argmax}, pool=pool)


def bprop(dy: Array, argmax: Array, pool: PoolParams, out: Array, *, y: Array | None = None) -> None:
    """Write the gradient by the input to `out` [N, H, W, C]: each dy goes to the element it came from.

    Where the pool's output `y` is given, windows whose maximum is not positive pass nothing.
    """
    arrays = {"dy": dy, "argmax": argmax, "y": y, "dx": out}
    runtime_of(dy).call("max_pool_bprop", arrays, pool=pool)
