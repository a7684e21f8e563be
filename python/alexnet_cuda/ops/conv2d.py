"""Grouped 2-D convolution, NHWC activations and KRSC weights.

Bias, addends, and the gradients of weight and bias are of the accumulator dtype: float32, in float64 networks float64.
x, y, weight and their gradients may be ranges of the channels of wider tensors.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..base.params import Conv2dShape, DropoutParams, FoldedLayout, SgdParams
from ..base.windows import Padding, count, sides
from ._dispatch import (
    Array,
    accumulator_dtype,
    accumulator_output,
    backend,
    check,
    check_activation,
    check_mask,
    check_precision,
    integers,
    output,
    pair,
    require_apart,
)
from .dropout import check_rows
from .sgd import check_update

Size = int | tuple[int, int]


def problem(
    input_shape: tuple[int, ...], filters: int, kernel: tuple[int, int], stride: Size, padding: Padding, groups: int
) -> Conv2dShape:
    """The sizes of a convolution of [N, H, W, C] = `input_shape`, checked; `kernel` is (R, S), `filters` K.

    Stride, `padding` and `groups` as in `fprop`.

    Raises
    ------
    ValueError
        Nothing to filter, groups that do not divide the channels, a filter larger than the padded input.
    """
    n, h, w, c = integers("input_shape", input_shape, 4, 0)
    r, s = integers("kernel", kernel, 2, 1)
    if min(h, w, c, filters) < 1:
        raise ValueError(f"height, width, channels and filters must be positive, got {h}x{w}, {c} and {filters}")
    (sh, sw), (down, across) = pair("stride", stride, 1), sides(padding)
    if groups < 1 or c % groups or filters % groups:
        raise ValueError(f"groups must divide {c} input and {filters} output channels, got {groups}")
    p, q = count(h, r, sh, down), count(w, s, sw, across)
    if min(p, q) < 1:
        raise ValueError(f"the {r}x{s} filter does not fit the padded input, {h + sum(down)}x{w + sum(across)}")
    return Conv2dShape(n, h, w, c, filters, r, s, p, q, (sh, sw), (down[0], across[0]), groups)


def folded_layout(
    input_shape: tuple[int, ...],
    kernel: tuple[int, int],
    *,
    stride: Size = 1,
    padding: Padding = 0,
    groups: int = 1,
    dtype: Any,
) -> FoldedLayout | None:
    """How the kernels want an input [H, W, C] = `input_shape` of a convolution folded; None: as it is.

    Where the channels of an ungrouped convolution are not a multiple of 16 bytes, as conv1's three, `fprop` and `wgrad`
    fold x first, space to depth: the positions of a stride become the channels of one. They take it folded too, from
    `fold` or from `augment.fprop`, which writes it so at once; with the same bits as result.

    Raises
    ------
    ValueError
        As `problem`.
    """
    h, w, c = integers("input_shape", input_shape, 3, 1)
    return _layout(problem((0, h, w, c), groups, kernel, stride, padding, groups), dtype)


def _layout(s: Conv2dShape, dtype: Any) -> FoldedLayout | None:
    chunk, (sh, sw) = 16 // np.dtype(dtype).itemsize, s.stride
    if s.groups != 1 or s.C % chunk == 0:
        return None
    height, width = s.P - 1 + -(-s.R // sh), s.Q - 1 + -(-s.S // sw)
    return FoldedLayout((s.H, s.W, s.C), s.stride, s.padding, (height, width, -(-sh * sw * s.C // chunk) * chunk))


def fold(x: Array, layout: FoldedLayout, out: Array | None = None) -> Array:
    """Fold x [N, H, W, C] to [N, *layout.shape].

    Raises
    ------
    ValueError, TypeError
        Shapes or dtypes that do not fit together.
    """
    check("x", x, (None, *layout.unfolded))
    folded = output(out, x, (x.shape[0], *layout.shape))
    backend("fold", x, folded).fold(x, layout, folded)
    return folded


def _input_shape(x: Array, folded: FoldedLayout | None) -> tuple[int, ...]:
    """[N, H, W, C] of a checked x, folded or not."""
    if folded is None:
        check("x", x, (None,) * 4, channel_range=True)
        return tuple(x.shape)
    check("x", x, (None, *folded.shape))
    return (x.shape[0], *folded.unfolded)


def _check_layout(folded: FoldedLayout | None, s: Conv2dShape, dtype: Any) -> None:
    expected = _layout(s, dtype)
    if folded not in (None, expected):
        raise ValueError(f"folded must be {expected} for this convolution in {np.dtype(dtype)}, got {folded}")


def fprop(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    groups: int = 1,
    activation: str = "none",
    addend: Array | None = None,
    dropout: DropoutParams | None = None,
    precision: str | None = None,
    folded: FoldedLayout | None = None,
    out: Array | None = None,
) -> Array:
    """Convolution, addend, bias, activation and dropout.

    Parameters
    ----------
    x : array [N, H, W, C]
        With `folded` [N, *folded.shape].
    weight : array [K, R, S, C / groups] of x's dtype
    bias : array [K], optional
    stride : int or (int, int)
        Vertical and horizontal.
    padding : int, (int, int) or ((int, int), (int, int))
        Zeros on all sides; vertical and horizontal; ``((top, bottom), (left, right))``.
    groups : int
        Group g maps channels ``g C / groups`` and on to filters ``g K / groups`` and on.
    activation : {"none", "relu", "tanh", "logistic"}
    addend : array [N, P, Q, K], optional
        Added before the activation: the part of the sum over other channels, which an earlier call wrote to an `out` of
        the accumulator dtype. It may be `out`, and on the kernels lies as that does: both dense, or ranges of as many
        channels.
    dropout : DropoutParams, optional
        From `dropout.parameters`, applied to the activations as rows [N P Q, K].
    precision : {"tf32", ...}, optional
        How to multiply; by default as x's dtype says. "tf32" takes float32 arrays, not on the CPU.
    folded : FoldedLayout, optional
        x is folded so, as `folded_layout` says of this convolution; x and weight are dense then.
    out : array, optional
        Of x's or the accumulator dtype.

    Returns
    -------
    array [N, P, Q, K]

    Raises
    ------
    ValueError, TypeError
        Shapes or dtypes that do not fit together.
    """
    input_shape = _input_shape(x, folded)
    check("weight", weight, (None,) * 4, x.dtype, channel_range=True)
    s = problem(input_shape, weight.shape[0], weight.shape[1:3], stride, padding, groups)
    _check_layout(folded, s, x.dtype)
    check("weight", weight, (s.K, s.R, s.S, s.C // groups), x.dtype, channel_range=True)
    accumulator = accumulator_dtype(x.dtype)
    if bias is not None:
        check("bias", bias, (s.K,), accumulator)
    if addend is not None:
        check("addend", addend, (s.N, s.P, s.Q, s.K), accumulator, channel_range=True)
    check_activation(activation)
    check_rows(dropout, s.N * s.P * s.Q, s.K)
    check_precision(precision, x.dtype)
    y = accumulator_output(out, x, (s.N, s.P, s.Q, s.K), x=x, weight=weight)
    backend("conv2d", x, weight, bias, addend, y).fprop(
        x, weight, bias, s, activation, y, addend=addend, dropout=dropout, precision=precision, folded=folded
    )
    return y


def dgrad(
    dy: Array,
    weight: Array,
    input_shape: tuple[int, ...],
    *,
    stride: Size = 1,
    padding: Padding = 0,
    groups: int = 1,
    mask: Array | None = None,
    mask_scale: float = 1.0,
    addend: Array | None = None,
    precision: str | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient by the input [N, H, W, C] = `input_shape`, from dy [N, P, Q, K] and weight [K, R, S, C / groups].

    Parameters
    ----------
    mask : array [N, H, W, C] of dy's dtype, optional
        The output of the ReLU before: the result is zero where it is not positive, else multiplied by `mask_scale`.
        With the output of a dropout after the ReLU and its scale that undoes both. On the kernels it lies as
        `out` does, like the addend.
    addend : array [N, H, W, C], optional
        Added before the mask; as in `fprop`, and so are the rest.
    """
    check("weight", weight, (None,) * 4, channel_range=True)
    s = problem(input_shape, weight.shape[0], weight.shape[1:3], stride, padding, groups)
    check("weight", weight, (s.K, s.R, s.S, s.C // groups), channel_range=True)
    check("dy", dy, (s.N, s.P, s.Q, s.K), weight.dtype, channel_range=True)
    check_mask(mask, mask_scale, dy, (s.N, s.H, s.W, s.C))
    if addend is not None:
        check("addend", addend, (s.N, s.H, s.W, s.C), accumulator_dtype(dy.dtype), channel_range=True)
    check_precision(precision, dy.dtype)
    dx = accumulator_output(out, dy, (s.N, s.H, s.W, s.C), dy=dy, weight=weight)
    backend("conv2d", dy, weight, mask, addend, dx).dgrad(
        dy, weight, s, dx, mask=mask, mask_scale=mask_scale, addend=addend, precision=precision
    )
    return dx


def wgrad(
    x: Array,
    dy: Array,
    kernel: tuple[int, int],
    *,
    stride: Size = 1,
    padding: Padding = 0,
    groups: int = 1,
    accumulate: bool = False,
    sgd: SgdParams | None = None,
    bias: bool = True,
    precision: str | None = None,
    folded: FoldedLayout | None = None,
    out: Array | None = None,
    bias_out: Array | None = None,
) -> tuple[Array | None, Array | None]:
    """Gradients by weight [K, R, S, C / groups] and bias [K], from x [N, H, W, C] and dy [N, P, Q, K].

    Parameters
    ----------
    kernel : (R, S)
    accumulate : bool
        Add the weight's gradient to `out`.
    sgd : SgdParams, optional
        Update these weights by their gradient, which is then written only where `out` is given.
    bias : bool
        Whether the bias's gradient is wanted.
    folded : FoldedLayout, optional
        As in `fprop`.

    Returns
    -------
    weight gradient : array, or None where there is none
    bias gradient : array, or None
    """
    input_shape = _input_shape(x, folded)
    check("dy", dy, (None,) * 4, x.dtype, channel_range=not bias)
    s = problem(input_shape, dy.shape[3], kernel, stride, padding, groups)
    _check_layout(folded, s, x.dtype)
    check("dy", dy, (s.N, s.P, s.Q, s.K), x.dtype, channel_range=not bias)
    check_precision(precision, x.dtype)
    shape, accumulator = (s.K, s.R, s.S, s.C // groups), accumulator_dtype(x.dtype)
    check_update(sgd, shape, x.dtype, accumulate, out)
    dweight = out if sgd is not None and out is None else output(out, x, shape, accumulator, channel_range=True)
    if out is not None:
        require_apart(out, x=x, dy=dy)
    dbias = output(bias_out, x, (s.K,), accumulator, name="bias_out") if bias else None
    backend("conv2d", x, dy, dweight, dbias).wgrad(
        x, dy, s, dweight, dbias, accumulate=accumulate, sgd=sgd, precision=precision, folded=folded
    )
    return dweight, dbias
