"""Max-pooling, overlapping or not, on the CPU; paper section 3.4. x [N, H, W, C], y [N, P, Q, C]."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ...base.parallel import parallel_for, scratch
from ...base.params import PoolParams
from .masks import keep

Array = npt.NDArray[Any]
Bytes = npt.NDArray[np.uint8]


def taps(x: Array, p: PoolParams) -> list[tuple[tuple[slice, slice], Array]]:
    """For each tap of the window, row by row: the windows in which it lies in `x` (one image), and what they read."""
    rows, columns = (
        [_reached(tap, x.shape[axis], p.stride, p.padding[axis], p.output[axis]) for tap in range(p.size)]
        for axis in (0, 1)
    )
    return [((at_p, at_q), x[at_h, at_w]) for at_p, at_h in rows for at_q, at_w in columns]


def _reached(tap: int, extent: int, stride: int, padding: int, windows: int) -> tuple[slice, slice]:
    """Along an axis, the windows whose tap lies in the input, and where."""
    first = max(0, -(-(padding - tap) // stride))
    begin = first * stride - padding + tap
    inside = max(0, min(windows - first, -(-(extent - begin) // stride)))
    return slice(first, first + inside), slice(begin, begin + inside * stride, stride)


def fprop(x: Array, p: PoolParams, out: Array, argmax: Bytes | None) -> None:
    """Write the maxima to `out` and, where given, the first tap that holds each (row * size + column) to `argmax`."""
    above, left = (np.maximum(p.padding[i] - p.stride * np.arange(p.output[i]), 0) for i in (0, 1))
    first_inside = (above[:, None] * p.size + left).astype(np.uint8)[:, :, None]

    def image(n: int) -> None:
        views = taps(x[n], p)
        y = out[n]
        y[...] = -np.inf
        for at, view in views:
            np.maximum(y[at], view, out=y[at])
        if argmax is None:
            return
        differs = scratch("differs", y.shape, np.bool_)
        first, candidate = argmax[n], scratch("candidate", y.shape, np.uint8)
        first[...] = 255
        for tap, (at, view) in enumerate(views):
            # 255 where the tap is not the maximum, its number where it is: the minimum is the first that is.
            np.not_equal(view, y[at], out=differs[at])
            np.multiply(differs[at].view(np.uint8), 255, out=candidate[at])
            np.bitwise_or(candidate[at], tap, out=candidate[at])
            np.minimum(first[at], candidate[at], out=first[at])
        np.copyto(first, first_inside, where=np.isnan(y))  # NaN equals nothing

    parallel_for(image, len(x))


def bprop(dy: Array, argmax: Bytes, p: PoolParams, out: Array, *, y: Array | None = None) -> None:
    """Write the gradient by the input to `out` [N, H, W, C]: each dy goes to the element it came from.

    Where the pool's output `y` is given, windows whose maximum is not positive pass nothing.
    """

    def image(n: int) -> None:
        dx = out[n]
        dx[...] = 0
        chosen = scratch("chosen", dy.shape[1:], np.bool_)
        share = scratch("share", dy.shape[1:], dy.dtype)
        for tap, (at, view) in enumerate(taps(dx, p)):
            np.equal(argmax[n], tap, out=chosen)
            if y is not None:
                np.logical_and(chosen, y[n] > 0, out=chosen)
            share[...] = dy[n]
            keep(share, chosen)
            np.add(view, share[at], out=view)

    parallel_for(image, len(dy))
