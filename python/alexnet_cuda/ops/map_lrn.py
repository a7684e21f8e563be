"""Local response normalisation within a map, over the neighbouring positions of each channel.

What cuda-convnet and the code of 2012 call ``rnorm``, Caffe a window ``WITHIN_CHANNEL``.
"""

from __future__ import annotations

from dataclasses import replace

from ..base.params import LrnParams
from . import lrn
from ._dispatch import Array, backend, check, output, require_apart

MAX_SIZE = 9  # what a tile's surroundings leave room for in a multiprocessor's shared memory (csrc/ops/map_lrn.h)


def parameters(size: int = 5, k: float = 1.0, alpha: float = 1e-3, beta: float = 0.75) -> LrnParams:
    """The checked parameters of a normalisation.

    Parameters
    ----------
    size : int
        Rows and columns of the window, odd, at most `MAX_SIZE`.
    k, alpha, beta : float
        ``y = x (k + alpha / size^2 * sum of x^2) ** -beta``: alpha is divided as in cuda-convnet, whose k is 1.

    Raises
    ------
    ValueError
        An even or too large window, k not positive, alpha negative.
    """
    p = lrn.parameters(1, size, k, alpha, beta)
    if p.size > MAX_SIZE:
        raise ValueError(f"size must be at most {MAX_SIZE}, got {p.size}")
    return replace(p, alpha=alpha / p.size**2)


def fprop(x: Array, p: LrnParams, *, out: Array | None = None) -> Array:
    """The normalised x [N, H, W, C]; `p` from `parameters`. Positions outside the map count as zeros."""
    check("x", x, (None,) * 4)
    y = output(out, x, x.shape)
    require_apart(y, x=x)
    backend("map_lrn", x, y).fprop(x, p, y)
    return y


def bprop(dy: Array, x: Array, p: LrnParams, *, out: Array | None = None) -> Array:
    """Gradient by the input [N, H, W, C], from dy, the input x and its `p`."""
    check("x", x, (None,) * 4)
    check("dy", dy, x.shape, x.dtype)
    dx = output(out, x, x.shape)
    require_apart(dx, dy=dy, x=x)
    backend("map_lrn", dy, x, dx).bprop(dy, x, p, dx)
    return dx
