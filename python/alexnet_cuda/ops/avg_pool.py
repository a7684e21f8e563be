"""Average-pooling."""

from __future__ import annotations

from ..base.windows import Padding
from ._dispatch import Array, backend, check, output, require_apart
from .max_pool import pool


def fprop(
    x: Array,
    *,
    size: int = 3,
    stride: int = 2,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    out: Array | None = None,
) -> Array:
    """Means over windows, [N, P, Q, C], of x [N, H, W, C].

    Parameters
    ----------
    size, stride, padding, ceil_mode
        As in `max_pool.fprop`.
    count_include_pad : bool
        Whether the padding counts, as zeros, in the number that a sum is divided by: in Caffe always, in PyTorch by
        default, in ONNX and in TensorFlow not by default. What a last window of `ceil_mode` covers beyond the padding
        never counts.
    """
    check("x", x, (None,) * 4)
    p, shape = pool(x.shape, size, stride, padding, ceil_mode, count_include_pad)
    y = output(out, x, shape)
    require_apart(y, x=x)
    backend("avg_pool", x, y).fprop(x, p, y)
    return y


def bprop(
    dy: Array,
    input_shape: tuple[int, ...],
    *,
    size: int = 3,
    stride: int = 2,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    out: Array | None = None,
) -> Array:
    """Gradient by the input of shape `input_shape` [N, H, W, C], from dy [N, P, Q, C]; options as in `fprop`."""
    p, shape = pool(input_shape, size, stride, padding, ceil_mode, count_include_pad)
    check("dy", dy, shape)
    dx = output(out, dy, tuple(input_shape))
    require_apart(dx, dy=dy)
    backend("avg_pool", dy, dx).bprop(dy, p, dx)
    return dx
