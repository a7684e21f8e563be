"""Average-pooling on the GPU: the mean over each window. x [N, H, W, C], y [N, P, Q, C]."""

from __future__ import annotations

from ._runtime import Array, addresses, extension
from .max_pool import arguments


def fprop(x: Array, size: int, stride: int, out: Array) -> None:
    """Write the means to `out`."""
    extension().avg_pool_fprop(**addresses(x=x, y=out), **arguments(x, size, stride))


def bprop(dy: Array, size: int, stride: int, out: Array) -> None:
    """Write the gradient by the input to `out` [N, H, W, C]: each dy is spread evenly over its window."""
    extension().avg_pool_bprop(**addresses(dy=dy, dx=out), **arguments(out, size, stride))
