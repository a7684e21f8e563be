"""Local response normalisation and the max-pool after it on the CPU; x [N, H, W, C], y [N, P, Q, C]."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from ...base.parallel import scratch
from ...base.params import LrnParams, PoolParams
from . import lrn, max_pool

Array = npt.NDArray[Any]

# Numbers that are normalised before they are pooled: whole images, as many as make good blocks for several cores.
_CHUNK = 4_000_000


def fprop(x: Array, p: LrnParams, pool: PoolParams, out: Array, argmax: Array | None) -> None:
    """Write the maxima of the normalised `x` to `out` and, where given, the first tap that holds each to `argmax`."""
    step = max(1, _CHUNK // max(1, x[:1].size))
    for n in range(0, len(x), step):
        part = slice(n, n + step)
        normalised = scratch("normalised", x[part].shape, x.dtype)
        lrn.fprop(x[part], p, normalised)
        max_pool.fprop(normalised, pool, out[part], None if argmax is None else argmax[part])


def bprop(
    dy: Array, argmax: Array, x: Array, p: LrnParams, pool: PoolParams, out: Array, *, relu: bool = False
) -> None:
    """Write the gradient by `x` to `out` [N, H, W, C], from dy [N, P, Q, C] and the argmax; `relu` as in `lrn`."""
    max_pool.bprop(dy, argmax, pool, out)
    lrn.bprop(out, x, p, out, relu=relu)
