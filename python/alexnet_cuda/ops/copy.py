"""Copies from one floating-point type to another, of ranges of the last dimension, with or without an addition."""

from __future__ import annotations

from ._dispatch import Array, backend, check


def cast(x: Array, *, out: Array, addend: Array | None = None) -> Array:
    """Write `x` (+ `addend`), rounded once, to `out`.

    Parameters
    ----------
    x, out : array [..., columns]
        Of floating-point dtypes; each may be a range of the last dimension of a wider array.
    addend : array, optional
        Of x's shape and dtype; the sum is formed in the accumulator dtype. `out` may be `x` or `addend`.

    Returns
    -------
    array
        `out`.

    Raises
    ------
    ValueError, TypeError
        Shapes or dtypes that do not fit together.
    """
    check("x", x, None, channel_range=True)
    check("out", out, x.shape, channel_range=True)
    if addend is not None:
        check("addend", addend, x.shape, x.dtype, channel_range=True)
    backend("copy", x, out, addend).cast(x, out, addend)
    return out
