"""Grouped 2-D convolution: implicit GEMM on tensor cores; x [N, H, W, C], weight [K, R, S, C / groups]."""

from __future__ import annotations

from ...base.params import Conv2dShape, DropoutParams, FoldedLayout, SgdParams
from . import _gemm
from ._runtime import Array


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
    _gemm.fprop("conv2d", _sizes(s, folded), x, weight, bias, activation, out, addend, dropout, precision)


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
    _gemm.dgrad("conv2d", _sizes(s), dy, weight, out, mask, mask_scale, addend, precision)


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
    _gemm.wgrad("conv2d", _sizes(s, folded), x, dy, dweight, dbias, accumulate, sgd, precision)


def _sizes(s: Conv2dShape, folded: FoldedLayout | None = None) -> _gemm.Problem:
    shape = (s.N, s.H, s.W, s.C, s.K, s.R, s.S)
    sizes = {"shape": shape, "stride": s.stride, "padding": s.padding, "groups": s.groups}
    return sizes if folded is None else {**sizes, "x_folded": True}
