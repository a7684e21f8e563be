"""Local response normalisation and the max-pool after it in one pass; x [N, H, W, C], y [N, P, Q, C]."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...base.array import Array
from ._runtime import runtime_of

if TYPE_CHECKING:
    from ...base.params import LrnParams, PoolParams


def fprop(x: Array, p: LrnParams, pool: PoolParams, out: Array, argmax: Array | None) -> None:
    """Write the maxima of the normalised `x` to `out` and, where given, the first tap that holds each to `argmax`.

    The same bits as `lrn.fprop` and `max_pool.fprop` in turn.
    """
    arrays = {"x": x, "y": out, "argmax": argmax}
    runtime_of(x).call("lrn_max_pool_fprop", arrays, window=p, pool=pool)


def bprop(
    dy: Array, argmax: Array, x: Array, p: LrnParams, pool: PoolParams, out: Array, *, relu: bool = False
) -> None:
    """Write the gradient by `x` to `out` [N, H, W, C], from dy [N, P, Q, C] and the argmax; `relu` as in `lrn`."""
    arrays = {"dy": dy, "argmax": argmax, "x": x, "dx": out}
    runtime_of(x).call("lrn_max_pool_bprop", arrays, window=p, pool=pool, relu=relu)
