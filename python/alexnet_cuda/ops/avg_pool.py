"""Average-pooling."""

from __future__ import annotations

from ._dispatch import Array, backend, check, output
from .max_pool import output_shape


def fprop(x: Array, *, size: int = 3, stride: int = 2, out: Array | None = None) -> Array:
    """Means over windows, [N, P, Q, C], of x [N, H, W, C]."""
    check("x", x, (None,) * 4)
    y = output(out, x, output_shape(x.shape, size, stride))
    backend("avg_pool", x, y).fprop(x, size, stride, y)
    return y


def bprop(
    dy: Array, input_shape: tuple[int, ...], *, size: int = 3, stride: int = 2, out: Array | None = None
) -> Array:
    """Gradient by the input of shape `input_shape` [N, H, W, C], from dy [N, P, Q, C]."""
    check("dy", dy, output_shape(input_shape, size, stride))
    dx = output(out, dy, tuple(input_shape))
    backend("avg_pool", dy, dx).bprop(dy, size, stride, dx)
    return dx
