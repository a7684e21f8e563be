"""Fully connected layer: ``y = activation(x w^T + b)``; x [N, in], w [out, in], on convolution's kernels."""

from __future__ import annotations

from ...base.params import DropoutParams, SgdParams
from . import _gemm
from ._runtime import Array


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
    _gemm.fprop("linear", _sizes(x, weight), x, weight, bias, activation, out, addend, dropout, precision)


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
    _gemm.dgrad("linear", _sizes(out, weight), dy, weight, out, mask, mask_scale, addend, precision)


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
    sizes = {"shape": (x.shape[0], x.shape[1], dy.shape[1])}
    _gemm.wgrad("linear", sizes, x, dy, dweight, dbias, accumulate, sgd, precision)


def _sizes(x: Array, weight: Array) -> _gemm.Problem:
    return {"shape": (x.shape[0], weight.shape[1], weight.shape[0])}
