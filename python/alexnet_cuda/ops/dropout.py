"""Dropout, by default inverted, whose mask is a function of (seed, purpose, step, element); paper section 4.2."""

from __future__ import annotations

import math

import numpy as np

from ..base.params import DropoutParams
from ..base.philox import check_elements, check_key
from ._dispatch import Array, backend, check, output


def parameters(
    rate: float,
    *,
    seed: int,
    purpose: int,
    step: int | Array,
    row_stride: int,
    start: int = 0,
    scale: float | None = None,
) -> DropoutParams:
    """The checked key of a mask over rows and columns.

    Parameters
    ----------
    rate : float
        Probability that an element is dropped, in [0, 1).
    seed, purpose, step : int
        Key of the mask, see `alexnet_cuda.base.philox.bits`. The step may be a uint64 array of one element where the
        operation runs, which is read when it runs.
    start, row_stride : int
        Element (r, c) has the number ``start + r * row_stride + c``: so half of the columns draw what the whole would.
    scale : float, optional
        What kept elements are multiplied by, positive; by default ``1 / (1 - rate)``, which keeps their mean.

    Raises
    ------
    ValueError
        A rate outside [0, 1), a scale that is not positive in float32, a negative start, a key that is out of range.
    """
    if not (math.isfinite(rate) and 0 <= rate < 1):
        raise ValueError(f"rate must be in [0, 1), got {rate}")
    scale = 1.0 / (1.0 - rate) if scale is None else scale
    # With none of 0 or below, what comes of a ReLU and a dropout is positive exactly where both let the gradient pass.
    numbers = np.finfo(np.float32)
    if not float(numbers.tiny) <= scale <= float(numbers.max):
        raise ValueError(f"scale must be positive and within float32, got {scale}")
    if start < 0 or row_stride < 1:
        raise ValueError(f"start must not be negative and row_stride positive, got {start} and {row_stride}")
    in_memory = hasattr(step, "dtype") and not isinstance(step, np.generic)
    if in_memory:
        check("step", step, (1,), np.uint64)
    check_key(seed, purpose, 0 if in_memory else step)
    return DropoutParams(rate, seed, purpose, step, start, row_stride, scale)


def check_rows(p: DropoutParams | None, rows: int, columns: int) -> None:
    """Require that rows of so many columns do not share numbers of `p`, and that there are numbers for all.

    Raises
    ------
    ValueError
        They do, or there are not.
    """
    if p is None or rows == 0 or columns == 0:
        return
    if p.row_stride < columns:
        raise ValueError(f"row_stride must be at least the {columns} columns, got {p.row_stride}")
    check_elements(p.start, (rows - 1) * p.row_stride + columns)


def apply(x: Array, p: DropoutParams, *, out: Array | None = None) -> Array:
    """The masked and scaled x [rows, columns]; applied to dy with the same `p` it is the backward pass.

    `p` is from `parameters`.
    """
    check("x", x, (None, None))
    check_rows(p, *x.shape)
    y = output(out, x, x.shape)
    backend("dropout", x, y).apply(x, p, y)
    return y
