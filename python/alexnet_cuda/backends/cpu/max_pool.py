"""Max-pooling, overlapping or not, on the CPU; paper section 3.4. x [N, H, W, C], y [N, P, Q, C]."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ...base.parallel import parallel_for, scratch
from .masks import keep

Array = npt.NDArray[Any]
Bytes = npt.NDArray[np.uint8]


def taps(x: Array, shape: tuple[int, ...], size: int, stride: int) -> list[Array]:
    """For each position of the window, row by row, the view of `x` (one image) that it reads; see also avg_pool."""
    p, q = shape[0], shape[1]
    return [
        x[r : r + stride * (p - 1) + 1 : stride, s : s + stride * (q - 1) + 1 : stride]
        for r in range(size)
        for s in range(size)
    ]


def fprop(x: Array, size: int, stride: int, out: Array, argmax: Bytes | None) -> None:
    """Write the maxima to `out` and, where given, the first tap that holds each (row * size + column) to `argmax`."""

    def image(n: int) -> None:
        views = taps(x[n], out.shape[1:], size, stride)
        y = out[n]
        y[...] = views[0]
        for view in views[1:]:
            np.maximum(y, view, out=y)
        if argmax is None:
            return
        differs = scratch("differs", y.shape, np.bool_)
        first, candidate = argmax[n], scratch("candidate", y.shape, np.uint8)
        first[...] = 255
        for tap, view in enumerate(views):
            # 255 where the tap is not the maximum, its number where it is: the minimum is the first that is.
            np.not_equal(view, y, out=differs)
            np.multiply(differs.view(np.uint8), 255, out=candidate)
            np.bitwise_or(candidate, tap, out=candidate)
            np.minimum(first, candidate, out=first)
        first[np.isnan(y)] = 0  # NaN equals nothing

    parallel_for(image, len(x))


def bprop(dy: Array, argmax: Bytes, size: int, stride: int, out: Array, *, y: Array | None = None) -> None:
    """Write the gradient by the input to `out` [N, H, W, C]: each dy goes to the element it came from.

    Where the pool's output `y` is given, windows whose maximum is not positive pass nothing.
    """

    def image(n: int) -> None:
        dx = out[n]
        dx[...] = 0
        chosen = scratch("chosen", dy.shape[1:], np.bool_)
        share = scratch("share", dy.shape[1:], dy.dtype)
        for tap, view in enumerate(taps(dx, dy.shape[1:], size, stride)):
            np.equal(argmax[n], tap, out=chosen)
            if y is not None:
                np.logical_and(chosen, y[n] > 0, out=chosen)
            share[...] = dy[n]
            keep(share, chosen)
            np.add(view, share, out=view)

    parallel_for(image, len(dy))
