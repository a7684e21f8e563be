"""Average-pooling: the mean over each window. x [N, H, W, C], y [N, P, Q, C]."""

from __future__ import annotations

from ...base.array import Array
from ...base.params import PoolParams
from ._runtime import runtime_of


def fprop(x: Array, pool: PoolParams, out: Array) -> None:
    """Write the means to `out`."""
    runtime_of(x).call("avg_pool_fprop", {"x": x, "y": out}, pool=pool)


def bprop(dy: Array, pool: PoolParams, out: Array) -> None:
    """Write the gradient by the input to `out` [N, H, W, C]: each dy is spread evenly over its window."""
    runtime_of(dy).call("avg_pool_bprop", {"dy": dy, "dx": out}, pool=pool)
