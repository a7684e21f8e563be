"""Grouped 2-D convolution by `_cpu`; the contract is `alexnet_cuda.backends.cpu.conv2d`'s."""

from __future__ import annotations

from typing import Any

from ....base.parallel import run
from ....base.params import Conv2dShape, DropoutParams, FoldedLayout, SgdParams
from .. import conv2d as reference
from ..conv2d import Array, require_own_precision
from ..fold import unfold
from . import dropout as dropouts
from . import extension, lie_alike


def _geometry(s: Conv2dShape) -> dict[str, Any]:
    return {"stride": s.stride, "padding": s.padding, "groups": s.groups}


def fprop(
    x: Array,
    weight: Array,
    bias: Array | None,
    s: Conv2dShape,
    activation: str,
    out: Array,
    *,
    addend: Array | None = None,
    dropout: DropoutParams | None = None,
    precision: str | None = None,
    folded: FoldedLayout | None = None,
) -> None:
    """Write the convolution, plus addend and bias, through activation and dropout, to `out` [N, P, Q, K]."""
    require_own_precision(x, precision)
    x = x if folded is None else unfold(x, folded)
    if not lie_alike(out, addend):
        reference.fprop(x, weight, bias, s, activation, out, addend=addend, dropout=dropout)
        return
    work = extension().conv2d_fprop(x, weight, bias, addend, out, activation=activation, **_geometry(s))
    run(work, weight, (extension().selected(), s.groups))
    if dropout is not None:
        rows = out.reshape(-1, s.K)
        dropouts.apply(rows, dropout, rows)


def dgrad(
    dy: Array,
    weight: Array,
    s: Conv2dShape,
    out: Array,
    *,
    mask: Array | None = None,
    mask_scale: float = 1.0,
    addend: Array | None = None,
    precision: str | None = None,
) -> None:
    """Write the gradient by the input, plus addend, through the mask, to `out` [N, H, W, C]."""
    require_own_precision(dy, precision)
    if not lie_alike(out, mask, addend):
        reference.dgrad(dy, weight, s, out, mask=mask, mask_scale=mask_scale, addend=addend)
        return
    run(extension().conv2d_dgrad(dy, weight, mask, mask_scale, addend, out, **_geometry(s)))


def wgrad(
    x: Array,
    dy: Array,
    s: Conv2dShape,
    dweight: Array | None,
    dbias: Array | None,
    *,
    accumulate: bool = False,
    sgd: SgdParams | None = None,
    precision: str | None = None,
    folded: FoldedLayout | None = None,
) -> None:
    """Write the gradients by weights [K, R, S, C / groups] and bias [K], or update the weights by the former."""
    require_own_precision(x, precision)
    x = x if folded is None else unfold(x, folded)
    like = dweight if sgd is None else sgd.weight
    if like is None or not lie_alike(like, dweight):
        reference.wgrad(x, dy, s, dweight, dbias, accumulate=accumulate, sgd=sgd)
        return
    run(extension().conv2d_wgrad(x, dy, like, dweight, dbias, accumulate, sgd, **_geometry(s)))
