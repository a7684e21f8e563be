"""Hyperbolic tangent on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ...base.parallel import elementwise

Array = npt.NDArray[Any]


def fprop(x: Array, out: Array) -> None:
    """Write ``tanh(x)`` to `out`, which may be `x`."""
    x, y = x.reshape(-1), out.reshape(-1)
    elementwise(lambda s: np.tanh(x[s], out=y[s]), x.size)


def bprop(dy: Array, y: Array, out: Array) -> None:
    """Write ``dy (1 - y^2)``, from the output `y`, to `out`, which may be `dy`."""
    dy, y, dx = dy.reshape(-1), y.reshape(-1), out.reshape(-1)

    def block(s: slice) -> None:
        slope = np.square(y[s])
        np.subtract(1, slope, out=slope)
        np.multiply(dy[s], slope, out=dx[s])

    elementwise(block, y.size)
