"""Average-pooling on the CPU: the mean over each window. x [N, H, W, C], y [N, P, Q, C]."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ...base.parallel import parallel_for, scratch
from .max_pool import taps

Array = npt.NDArray[Any]


def fprop(x: Array, size: int, stride: int, out: Array) -> None:
    """Write the means to `out`."""

    def image(n: int) -> None:
        y = out[n]
        y[...] = 0
        for view in taps(x[n], y.shape, size, stride):
            np.add(y, view, out=y)
        np.multiply(y, 1.0 / (size * size), out=y)

    parallel_for(image, len(x))


def bprop(dy: Array, size: int, stride: int, out: Array) -> None:
    """Write the gradient by the input to `out` [N, H, W, C]: each dy is spread evenly over its window."""

    def image(n: int) -> None:
        dx = out[n]
        dx[...] = 0
        share = scratch("share", dy.shape[1:], dy.dtype)
        np.multiply(dy[n], 1.0 / (size * size), out=share)
        for view in taps(dx, dy.shape[1:], size, stride):
            np.add(view, share, out=view)

    parallel_for(image, len(dy))
