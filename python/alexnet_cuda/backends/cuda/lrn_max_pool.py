"""Local response normalisation and the max-pool after it in one pass on the GPU; x [N, H, W, C], y [N, P, Q, C]."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._runtime import Array, addresses, extension, stream
from .lrn import window

if TYPE_CHECKING:
    from ..cpu.lrn import LrnParams


def fprop(x: Array, p: LrnParams, size: int, stride: int, out: Array, argmax: Array | None) -> None:
    """Write the maxima of the normalised `x` to `out` and, where given, the first tap that holds each to `argmax`.

    The same bits as `lrn.fprop` and `max_pool.fprop` in turn.
    """
    extension().lrn_max_pool_fprop(**addresses(x=x, y=out, argmax=argmax), **_arguments(x, p, size, stride))


def bprop(dy: Array, argmax: Array, x: Array, p: LrnParams, size: int, stride: int, out: Array) -> None:
    """Write the gradient by `x` to `out` [N, H, W, C], from dy [N, P, Q, C] and the argmax."""
    extension().lrn_max_pool_bprop(**addresses(dy=dy, argmax=argmax, x=x, dx=out), **_arguments(x, p, size, stride))


def _arguments(x: Array, p: LrnParams, size: int, stride: int) -> dict[str, object]:
    n, h, w, c = x.shape
    shape = {"images": n, "height": h, "width": w, "channels": c}
    pool = {"pool_size": size, "pool_stride": stride}
    return {**shape, **window(p), **pool, "dtype": x.dtype.name, "stream": stream()}
