"""Local response normalisation and the max-pool after it by `_cpu`, in one pass; `..lrn_max_pool` has the contract."""

from __future__ import annotations

from ....base.parallel import run
from ....base.params import LrnParams
from ..lrn_max_pool import Array
from . import extension


def fprop(x: Array, p: LrnParams, size: int, stride: int, out: Array, argmax: Array | None) -> None:
    """Write the maxima of the normalised `x` to `out` and, where given, the first tap that holds each to `argmax`."""
    run(extension().pool_fprop(x, out, argmax, p, size, stride))


def bprop(
    dy: Array, argmax: Array, x: Array, p: LrnParams, size: int, stride: int, out: Array, *, relu: bool = False
) -> None:
    """Write the gradient by `x` to `out` [N, H, W, C], from dy [N, P, Q, C] and the argmax; `relu` as in `lrn`."""
    run(extension().pool_bprop(dy, argmax, x, None, out, p, size, stride, relu))
