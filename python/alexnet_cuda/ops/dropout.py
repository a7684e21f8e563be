"""Inverted dropout whose mask is a function of (seed, purpose, step, element); paper section 4.2."""

from __future__ import annotations

from ..backends.cpu.dropout import DropoutParams
from ._dispatch import Array, backend, check, output


def apply(
    x: Array,
    rate: float,
    *,
    seed: int,
    purpose: int,
    step: int,
    start: int = 0,
    row_stride: int | None = None,
    out: Array | None = None,
) -> Array:
    """The masked and scaled x; applied to dy with the same key it is the backward pass.

    Parameters
    ----------
    x : array [rows, columns]
    rate : float
        Probability that an element is dropped, in [0, 1).
    seed, purpose, step : int
        Key of the mask, see `alexnet_cuda.philox.bits`.
    start, row_stride : int
        Element (r, c) has the number ``start + r * row_stride + c``: so half of the columns draw what the whole
        would. `row_stride` is the number of columns by default.
    """
    check("x", x, (None, None))
    if not 0 <= rate < 1:
        raise ValueError(f"rate must be in [0, 1), got {rate}")
    row_stride = x.shape[1] if row_stride is None else row_stride
    if start < 0 or row_stride < x.shape[1]:
        raise ValueError(f"start must not be negative nor row_stride below {x.shape[1]}, got {start} and {row_stride}")
    y = output(out, x, x.shape)
    backend("dropout", x, y).apply(x, DropoutParams(rate, seed, purpose, step, start, row_stride), y)
    return y
