"""ReLU on the CPU: ``y = max(x, 0)``; paper section 3.1."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ...base.parallel import elementwise
from .masks import keep

Array = npt.NDArray[Any]


def fprop(x: Array, out: Array) -> None:
    """Write ``max(x, 0)`` to `out`, which may be `x`."""
    x, y = x.reshape(-1), out.reshape(-1)
    elementwise(lambda s: np.maximum(x[s], 0, out=y[s]), x.size)


def bprop(dy: Array, y: Array, out: Array) -> None:
    """Write ``dy`` where the output `y` is positive, else 0, to `out`, which may be `dy`."""
    dy, y, dx = dy.reshape(-1), y.reshape(-1), out.reshape(-1)

    def block(s: slice) -> None:
        positive = y[s] > 0  # of y as it was: dx may be y
        dx[s] = dy[s]
        keep(dx[s], positive)

    elementwise(block, y.size)
