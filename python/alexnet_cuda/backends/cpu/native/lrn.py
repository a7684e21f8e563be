"""Local response normalisation by `_cpu`; the contract is `alexnet_cuda.backends.cpu.lrn`'s."""

from __future__ import annotations

from ....base.parallel import run
from ....base.params import LrnParams
from ..lrn import Array
from . import extension


def fprop(x: Array, p: LrnParams, out: Array) -> None:
    """Write the normalised `x` to `out`."""
    run(extension().pool_fprop(x, out, None, p, None))


def bprop(dy: Array, x: Array, p: LrnParams, out: Array, *, relu: bool = False) -> None:
    """Write the gradient by the input to `out`; with `relu` zero where `x` is not positive."""
    run(extension().pool_bprop(dy, None, x, None, out, p, None, relu))
