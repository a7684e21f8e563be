"""Local response normalisation within a map on the CPU.

``y = x * s ** -beta`` with ``s = k + alpha * sum of x^2`` over the `size` x `size` positions around each, of the same
channel and image. `alpha` here multiplies the sum itself. x and y are [N, H, W, C].
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ...base.parallel import parallel_for, scratch
from ...base.params import LrnParams
from .lrn import power

Array = npt.NDArray[Any]


def _window_sums(values: Array, size: int, name: str) -> Array:
    """Sums over the window around each position of `values` [H, W, C]: down the columns, then along the rows."""
    columns, sums = (scratch(f"{name}{i}", values.shape, values.dtype) for i in range(2))
    for source, target in ((values, columns), (columns.swapaxes(0, 1), sums.swapaxes(0, 1))):
        target[...] = source
        for i in range(1, min(size // 2 + 1, len(source))):
            np.add(target[i:], source[:-i], out=target[i:])
            np.add(target[:-i], source[i:], out=target[:-i])
    return sums


def _sums(x: Array, p: LrnParams) -> Array:
    """s of one image [H, W, C]."""
    squares = scratch("squares", x.shape, x.dtype)
    s = _window_sums(np.multiply(x, x, out=squares), p.size, "squares")
    np.multiply(s, p.alpha, out=s)
    return np.add(s, p.k, out=s)


def fprop(x: Array, p: LrnParams, out: Array) -> None:
    """Write the normalised `x` to `out`."""

    def image(n: int) -> None:
        s = _sums(x[n], p)
        power(s, p.beta, "root")
        np.divide(x[n], s, out=out[n])

    parallel_for(image, len(x))


def bprop(dy: Array, x: Array, p: LrnParams, out: Array) -> None:
    """Write the gradient by the input to `out`.

    ``dx = dy s^-beta - 2 alpha beta x * sum over the window of dy x s^(-beta - 1)``.
    """

    def image(n: int) -> None:
        s = _sums(x[n], p)
        scaled, terms = scratch("scaled", s.shape, s.dtype), scratch("terms", s.shape, s.dtype)
        scaled[...] = s
        power(scaled, p.beta, "root")
        np.divide(dy[n], scaled, out=scaled)
        np.divide(np.multiply(scaled, x[n], out=terms), s, out=terms)
        sums = _window_sums(terms, p.size, "terms")
        np.multiply(sums, -2.0 * p.alpha * p.beta, out=sums)
        np.add(scaled, np.multiply(sums, x[n], out=sums), out=out[n])

    parallel_for(image, len(x))
