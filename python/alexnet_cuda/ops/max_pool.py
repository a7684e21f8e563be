"""Max-pooling, overlapping where the stride is less than the size; paper section 3.4."""

from __future__ import annotations

import numpy as np

from ._dispatch import Array, backend, check, integers, output


def output_shape(input_shape: tuple[int, ...], size: int, stride: int) -> tuple[int, ...]:
    """[N, P, Q, C] of a pool without padding; a rest that no whole window covers is left out.

    Raises
    ------
    ValueError
        A window that does not fit, or of more than 15 x 15 (the argmax is a byte).
    """
    n, h, w, c = integers("input_shape", input_shape, 4, 0)
    (size,), (stride,) = integers("size", size, 1, 1), integers("stride", stride, 1, 1)
    if size > min(h, w, 15):
        raise ValueError(f"size must be between 1 and the input's extent, {h}x{w}, and at most 15, got {size}")
    return n, (h - size) // stride + 1, (w - size) // stride + 1, c


def fprop(
    x: Array,
    *,
    size: int = 3,
    stride: int = 2,
    train: bool = True,
    out: Array | None = None,
    argmax_out: Array | None = None,
) -> tuple[Array, Array | None]:
    """Maxima over windows.

    Parameters
    ----------
    x : array [N, H, W, C]
    size, stride : int
    train : bool
        Whether the argmax is wanted.

    Returns
    -------
    y : array [N, P, Q, C]
    argmax : uint8 array [N, P, Q, C], or None
        ``row * size + column`` of the maximum within its window, the first of equal ones.
    """
    check("x", x, (None,) * 4)
    shape = output_shape(x.shape, size, stride)
    y = output(out, x, shape)
    argmax = output(argmax_out, x, shape, np.uint8, "argmax_out") if train else None
    backend("max_pool", x, y, argmax).fprop(x, size, stride, y, argmax)
    return y, argmax


def bprop(
    dy: Array,
    argmax: Array,
    input_shape: tuple[int, ...],
    *,
    size: int = 3,
    stride: int = 2,
    y: Array | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient by the input of shape `input_shape` [N, H, W, C], from dy and the argmax [N, P, Q, C].

    Where the pool's output `y` is given, a ReLU before the pool is undone with it: windows whose maximum is not
    positive pass nothing.
    """
    shape = output_shape(input_shape, size, stride)
    check("dy", dy, shape)
    check("argmax", argmax, shape, np.uint8)
    if y is not None:
        check("y", y, shape, dy.dtype)
    dx = output(out, dy, tuple(input_shape))
    backend("max_pool", dy, argmax, y, dx).bprop(dy, argmax, size, stride, dx, y=y)
    return dx
