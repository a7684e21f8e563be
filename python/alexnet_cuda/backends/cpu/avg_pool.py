"""Average-pooling on the CPU: the mean over each window. x [N, H, W, C], y [N, P, Q, C]."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ...base.parallel import parallel_for, scratch
from ...base.params import PoolParams
from .max_pool import taps

Array = npt.NDArray[Any]


def _shares(p: PoolParams, extents: tuple[int, ...], dtype: Any) -> Array:
    """1 over the pixels of each window that its mean counts, [P, Q, 1]; `extents` are the input's H and W."""
    counts = []
    for axis in (0, 1):
        before, after = p.counted[axis]
        begin = p.stride * np.arange(p.output[axis]) - p.padding[axis]
        counts.append(np.minimum(begin + p.size, extents[axis] + after) - np.maximum(begin, -before))
    return np.asarray(1.0 / np.multiply.outer(*counts)[:, :, None], dtype)


def fprop(x: Array, p: PoolParams, out: Array) -> None:
    """Write the means to `out`."""
    shares = _shares(p, x.shape[1:3], x.dtype)

    def image(n: int) -> None:
        y = out[n]
        y[...] = 0
        for at, view in taps(x[n], p):
            np.add(y[at], view, out=y[at])
        np.multiply(y, shares, out=y)

    parallel_for(image, len(x))


def bprop(dy: Array, p: PoolParams, out: Array) -> None:
    """Write the gradient by the input to `out` [N, H, W, C]: each dy is spread evenly over its window."""
    shares = _shares(p, out.shape[1:3], dy.dtype)

    def image(n: int) -> None:
        dx = out[n]
        dx[...] = 0
        share = scratch("share", dy.shape[1:], dy.dtype)
        np.multiply(dy[n], shares, out=share)
        for at, view in taps(dx, p):
            np.add(view, share[at], out=view)

    parallel_for(image, len(dy))
