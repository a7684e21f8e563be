"""Max-pooling by `_cpu`; the contract is `alexnet_cuda.backends.cpu.max_pool`'s."""

from __future__ import annotations

from ....base.parallel import run
from ....base.params import PoolParams
from ..max_pool import Array, Bytes
from . import extension


def fprop(x: Array, pool: PoolParams, out: Array, argmax: Bytes | None) -> None:
    """Write the maxima to `out` and, where given, the first tap that holds each (row * size + column) to `argmax`."""
    run(extension().pool_fprop(x, out, argmax, None, pool))


def bprop(dy: Array, argmax: Bytes, pool: PoolParams, out: Array, *, y: Array | None = None) -> None:
    """Write the gradient by the input to `out` [N, H, W, C]; `y` as in the twin."""
    run(extension().pool_bprop(dy, argmax, None, y, out, None, pool, False))
