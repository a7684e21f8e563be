"""Fully connected layer: ``y = activation(x w^T + b)``. Dtypes and ranges as in `alexnet_cuda.ops.conv2d`."""

from __future__ import annotations

from ..base.params import DropoutParams, SgdParams
from ._dispatch import (
    Array,
    accumulator_dtype,
    accumulator_output,
    backend,
    check,
    check_activation,
    check_mask,
    check_precision,
    output,
    require_apart,
)
from .dropout import check_rows
from .sgd import check_update


def fprop(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    activation: str = "none",
    addend: Array | None = None,
    dropout: DropoutParams | None = None,
    precision: str | None = None,
    out: Array | None = None,
) -> Array:
    """y [N, out] from x [N, in], weight [out, in] and bias [out]; options as in `conv2d.fprop`.

    Raises
    ------
    ValueError, TypeError
        Shapes or dtypes that do not fit together.
    """
    check("x", x, (None, None), channel_range=True)
    check("weight", weight, (None, x.shape[1]), x.dtype, channel_range=True)
    shape, accumulator = (x.shape[0], weight.shape[0]), accumulator_dtype(x.dtype)
    if bias is not None:
        check("bias", bias, shape[1:], accumulator)
    if addend is not None:
        check("addend", addend, shape, accumulator, channel_range=True)
    check_activation(activation)
    check_rows(dropout, *shape)
    check_precision(precision, x.dtype)
    y = accumulator_output(out, x, shape, x=x, weight=weight)
    backend("linear", x, weight, bias, addend, y).fprop(
        x, weight, bias, activation, y, addend=addend, dropout=dropout, precision=precision
    )
    return y


def dgrad(
    dy: Array,
    weight: Array,
    *,
    mask: Array | None = None,
    mask_scale: float = 1.0,
    addend: Array | None = None,
    precision: str | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient by the input [N, in], from dy [N, out] and weight [out, in]; options as in `conv2d.dgrad`."""
    check("weight", weight, (None, None), channel_range=True)
    check("dy", dy, (None, weight.shape[0]), weight.dtype, channel_range=True)
    shape = (dy.shape[0], weight.shape[1])
    check_mask(mask, mask_scale, dy, shape)
    if addend is not None:
        check("addend", addend, shape, accumulator_dtype(dy.dtype), channel_range=True)
    check_precision(precision, dy.dtype)
    dx = accumulator_output(out, dy, shape, dy=dy, weight=weight)
    backend("linear", dy, weight, mask, addend, dx).dgrad(
        dy, weight, dx, mask=mask, mask_scale=mask_scale, addend=addend, precision=precision
    )
    return dx


def wgrad(
    x: Array,
    dy: Array,
    *,
    accumulate: bool = False,
    sgd: SgdParams | None = None,
    bias: bool = True,
    precision: str | None = None,
    out: Array | None = None,
    bias_out: Array | None = None,
) -> tuple[Array | None, Array | None]:
    """Gradients by weight [out, in] and bias [out], from x [N, in] and dy [N, out]; as `conv2d.wgrad`."""
    check("x", x, (None, None), channel_range=True)
    check("dy", dy, (x.shape[0], None), x.dtype, channel_range=not bias)
    check_precision(precision, x.dtype)
    shape, accumulator = (dy.shape[1], x.shape[1]), accumulator_dtype(x.dtype)
    check_update(sgd, shape, x.dtype, accumulate, out)
    dweight = out if sgd is not None and out is None else output(out, x, shape, accumulator, channel_range=True)
    if out is not None:
        require_apart(out, x=x, dy=dy)
    dbias = output(bias_out, x, shape[:1], accumulator, name="bias_out") if bias else None
    backend("linear", x, dy, dweight, dbias).wgrad(
        x, dy, dweight, dbias, accumulate=accumulate, sgd=sgd, precision=precision
    )
    return dweight, dbias
