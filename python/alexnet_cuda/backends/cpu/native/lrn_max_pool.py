"""Local response normalisation and the max-pool after it by `_cpu`, in one pass; `..lrn_max_pool` has the contract."""

from __future__ import annotations

from ....base.parallel import run
from ....base.params import LrnParams, PoolParams
from ..lrn_max_pool import Array
from . import extension


def fprop(x: Array, p: LrnParams, pool: PoolParams, out: Array, argmax: Array | None) -> None:
    """Write the maxima of the normalised `x` to `out` and, where given, the first tap that holds each to `argmax`."""
    run(extension().pool_fprop(x, out, argmax, p, pool))


def bprop(
    dy: Array, argmax: Array, x: Array, p: LrnParams, pool: PoolParams, out: Array, *, relu: bool = False
) -> None:
    """Write the gradient by `x` to `out` [N, H, W, C], from dy [N, P, Q, C] and the argmax; `relu` as in `lrn`."""
    run(extension().pool_bprop(dy, argmax, x, None, out, p, pool, relu))
