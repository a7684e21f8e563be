"""SGD with momentum and weight decay; paper section 5."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..base.array import array_kind
from ..base.params import SgdParams
from ._dispatch import Array, accumulator_dtype, backend, check

__all__ = ["SgdParams", "check_update", "update"]


def check_update(
    p: SgdParams | None, shape: tuple[int, ...], dtype: Any, accumulate: bool = False, out: Array | None = None
) -> None:
    """Require weights, velocity and copy of `p` that a gradient of `shape`, in a network of `dtype`, can update.

    Raises
    ------
    ValueError, TypeError
        They cannot; `accumulate` with `p`, or without an array to add to.
    """
    if p is None:
        if accumulate and out is None:
            raise ValueError("accumulate needs an array `out` to add to, got None")
        return
    if accumulate:
        raise ValueError("accumulate and sgd exclude each other: the weights would be updated by a part of the sum")
    accumulator = accumulator_dtype(dtype)
    check("sgd.weight", p.weight, shape, accumulator, channel_range=True)
    check("sgd.velocity", p.velocity, shape, accumulator, channel_range=True)
    if p.copy is not None:
        if np.dtype(dtype).itemsize != 2:
            raise TypeError(f"sgd.copy is for 16-bit networks, got one for a network of {np.dtype(dtype)}")
        check("sgd.copy", p.copy, shape, dtype, channel_range=True)
    if p.velocity.strides != p.weight.strides:
        raise ValueError(f"sgd.velocity must lie as sgd.weight does, got {p.velocity.strides} and {p.weight.strides}")


def update(p: SgdParams, gradient: Array) -> None:
    """``v <- momentum v - weight_decay lr w - lr g; w <- w + v``, in place.

    Parameters
    ----------
    p : SgdParams
    gradient : array
        Of the weight's shape and dtype; on the kernels bfloat16 and float16 too.

    Raises
    ------
    ValueError, TypeError
        Shapes or dtypes that do not fit together.
    """
    check("weight", p.weight, None)
    if p.weight.dtype.name not in ("float32", "float64"):
        raise TypeError(f"weight must be of dtype float32 or float64, got {p.weight.dtype}")
    check("velocity", p.velocity, p.weight.shape, p.weight.dtype)
    narrow = getattr(getattr(gradient, "dtype", None), "name", "") in ("bfloat16", "float16")
    any_float = narrow and array_kind(gradient) != "cpu"
    check("gradient", gradient, p.weight.shape, None if any_float else p.weight.dtype)
    if p.copy is not None:
        check("copy", p.copy, p.weight.shape)
    backend("sgd", gradient, p.weight, p.velocity, p.copy).update(p, gradient)
