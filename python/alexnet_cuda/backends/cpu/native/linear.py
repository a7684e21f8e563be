"""Fully connected layer by `_cpu`; the contract is `alexnet_cuda.backends.cpu.linear`'s."""

from __future__ import annotations

from ....base.array import ConstantArray
from ....base.parallel import run
from ....base.params import DropoutParams, SgdParams
from .. import linear as reference
from ..conv2d import Array, require_own_precision
from . import dropout as dropouts
from . import extension, lie_alike


def fprop(
    x: Array,
    weight: Array,
    bias: Array | None,
    activation: str,
    out: Array,
    *,
    addend: Array | None = None,
    dropout: DropoutParams | None = None,
    precision: str | None = None,
) -> None:
    """Write the product, plus addend and bias, through activation and dropout, to `out` [N, out]."""
    require_own_precision(x, precision)
    if not lie_alike(out, addend):
        reference.fprop(x, weight, bias, activation, out, addend=addend, dropout=dropout)
        return
    work = extension().linear_fprop(x, weight, bias, addend, out, activation, isinstance(weight, ConstantArray))
    run(work, weight, (extension().selected(),))
    if dropout is not None:
        dropouts.apply(out, dropout, out)


def dgrad(
    dy: Array,
    weight: Array,
    out: Array,
    *,
    mask: Array | None = None,
    mask_scale: float = 1.0,
    addend: Array | None = None,
    precision: str | None = None,
) -> None:
    """Write the gradient by the input, ``dy w`` plus addend, through the mask, to `out` [N, in]."""
    require_own_precision(dy, precision)
    if not lie_alike(out, mask, addend):
        reference.dgrad(dy, weight, out, mask=mask, mask_scale=mask_scale, addend=addend)
        return
    run(extension().linear_dgrad(dy, weight, mask, mask_scale, addend, out))


def wgrad(
    x: Array,
    dy: Array,
    dweight: Array | None,
    dbias: Array | None,
    *,
    accumulate: bool = False,
    sgd: SgdParams | None = None,
    precision: str | None = None,
) -> None:
    """Write the gradients by weights, ``dy^T x`` [out, in], and bias [out], or update the weights by the former."""
    require_own_precision(x, precision)
    like = dweight if sgd is None else sgd.weight
    if like is None or not lie_alike(like, dweight):
        reference.wgrad(x, dy, dweight, dbias, accumulate=accumulate, sgd=sgd)
        return
    run(extension().linear_wgrad(x, dy, like, dweight, dbias, accumulate, sgd))
