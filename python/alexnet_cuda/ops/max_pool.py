"""Max-pooling, overlapping where the stride is less than the size; paper section 3.4."""

from __future__ import annotations

import numpy as np

from ..base.params import PoolParams
from ..base.windows import Padding, count, sides
from ._dispatch import Array, backend, check, integers, output, require_apart


def pool(
    input_shape: tuple[int, ...],
    size: int,
    stride: int,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
) -> tuple[PoolParams, tuple[int, ...]]:
    """The windows of a pool over [N, H, W, C] = `input_shape`, checked, and the shape [N, P, Q, C] of its output.

    Options as in `avg_pool.fprop`.

    Raises
    ------
    ValueError
        A window that does not fit, that may lie in the padding alone, or of more than 15 x 15 (the argmax is a byte).
    """
    n, h, w, c = integers("input_shape", input_shape, 4, 0)
    (size,), (stride,), around = integers("size", size, 1, 1), integers("stride", stride, 1, 1), sides(padding)
    windows = count(h, size, stride, around[0], ceil_mode), count(w, size, stride, around[1], ceil_mode)
    if size > 15 or min(h, w, *windows) < 1:
        padded = f"{h + sum(around[0])}x{w + sum(around[1])}"
        raise ValueError(f"size must be between 1 and the padded input's extent, {padded}, and at most 15, got {size}")
    if max(map(max, around)) >= size:
        raise ValueError(f"padding must be less than the window's size, {size}, got {padding}")
    counted = around if count_include_pad else ((0, 0), (0, 0))
    return PoolParams(size, stride, (around[0][0], around[1][0]), windows, counted), (n, *windows, c)


def fprop(
    x: Array,
    *,
    size: int = 3,
    stride: int = 2,
    padding: Padding = 0,
    ceil_mode: bool = False,
    train: bool = True,
    out: Array | None = None,
    argmax_out: Array | None = None,
) -> tuple[Array, Array | None]:
    """Maxima over windows.

    Parameters
    ----------
    x : array [N, H, W, C]
    size, stride : int
    padding : int, (int, int) or ((int, int), (int, int))
        On all sides; vertical and horizontal; ``((top, bottom), (left, right))``. Less than `size`; never a maximum.
    ceil_mode : bool
        Where the windows leave a rest of the padded input, whether a last one takes it, reaching beyond. Not if it
        would begin beyond the input, in the padding, as in Caffe, PyTorch and ONNX.
    train : bool
        Whether the argmax is wanted.

    Returns
    -------
    y : array [N, P, Q, C]
    argmax : uint8 array [N, P, Q, C], or None
        ``row * size + column`` of the maximum within its window, padding included; the first of equal ones. Of a NaN
        the first in the input.
    """
    check("x", x, (None,) * 4)
    p, shape = pool(x.shape, size, stride, padding, ceil_mode)
    y = output(out, x, shape)
    require_apart(y, x=x)
    argmax = output(argmax_out, x, shape, np.uint8, "argmax_out") if train else None
    backend("max_pool", x, y, argmax).fprop(x, p, y, argmax)
    return y, argmax


def bprop(
    dy: Array,
    argmax: Array,
    input_shape: tuple[int, ...],
    *,
    size: int = 3,
    stride: int = 2,
    padding: Padding = 0,
    ceil_mode: bool = False,
    y: Array | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient by the input [N, H, W, C] = `input_shape`, from dy and the argmax [N, P, Q, C]; options as in `fprop`.

    Where the pool's output `y` is given, a ReLU before the pool is undone with it: windows whose maximum is not
    positive pass nothing.
    """
    p, shape = pool(input_shape, size, stride, padding, ceil_mode)
    check("dy", dy, shape)
    check("argmax", argmax, shape, np.uint8)
    if y is not None:
        check("y", y, shape, dy.dtype)
    dx = output(out, dy, tuple(input_shape))
    require_apart(dx, dy=dy, y=y)
    backend("max_pool", dy, argmax, y, dx).bprop(dy, argmax, p, dx, y=y)
    return dx
