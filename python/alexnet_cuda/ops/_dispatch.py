"""Picks the backend of an array and checks arguments, for all operations."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from ..backends.cpu import native
from ..backends.kernels._runtime import runtime_of
from ..base.array import array_kind, is_cupy
from ..base.locks import late_import
from ..base.parallel import preallocating
from ..base.params import ACTIVATIONS
from ..base.windows import MOST

Array = Any  # a NumPy array, a SimtArray or a CuPy array


def backend(op: str, *arrays: Array, module: str = "") -> Any:
    """The module that implements `op`, by default the one of its name, where the arrays are; None is passed over.

    Raises
    ------
    TypeError
        Something that is no NumPy or CuPy array, or arrays of both kinds.
    """
    kinds = {array_kind(a) for a in arrays if a is not None}
    if len(kinds) != 1:
        raise TypeError(f"{op}: all arrays must be of one kind, got {' and '.join(sorted(kinds)) or 'none'}")
    package = "kernels" if kinds != {"cpu"} else "cpu.native" if native.has(op, arrays) else "cpu"
    if package == "cpu" and preallocating() and op != "augment":  # what that prepares is kept
        return _Nothing()
    return late_import(f"alexnet_cuda.backends.{package}.{module or op}")


class _Nothing:
    """A module whose functions do nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


def accumulator_dtype(dtype: Any) -> np.dtype[Any]:
    """The dtype of bias, accumulators and gradients of weights, for activations of `dtype`: float32, or float64."""
    return np.dtype(np.float64 if dtype == np.float64 else np.float32)


def check(
    name: str, array: Array, shape: tuple[int | None, ...] | None, dtype: Any = None, channel_range: bool = False
) -> None:
    """Require a C-contiguous array of a shape (None: any, or any extent) and a dtype (None: floating point).

    With `channel_range` it may also be a range of the last dimension of a wider C-contiguous array.
    """
    if not hasattr(array, "flags"):
        raise TypeError(f"{name} must be an array, got {type(array).__name__}")
    actual = tuple(array.shape)
    shape = actual if shape is None else shape
    if len(actual) != len(shape) or any(e is not None and e != a for e, a in zip(shape, actual, strict=True)):
        wanted = ", ".join("any" if e is None else str(e) for e in shape)
        raise ValueError(f"{name} must have shape [{wanted}], got {list(actual)}")
    if dtype is None and array.dtype.kind != "f" and array.dtype.name != "bfloat16":
        raise TypeError(f"{name} must be floating point, got {array.dtype}")
    if dtype is not None and array.dtype != dtype:
        raise TypeError(f"{name} must be of dtype {np.dtype(dtype)}, got {array.dtype}")
    if not array.flags.c_contiguous and not (channel_range and _is_channel_range(array)):
        raise ValueError(f"{name} must be C-contiguous, got strides {array.strides} for shape {list(actual)}")


def _is_channel_range(array: Array) -> bool:
    if array.ndim < 2 or array.strides[-1] != array.itemsize or array.strides[-2] < array.shape[-1] * array.itemsize:
        return False
    pairs = zip(array.shape[1:-1], array.strides[1:-1], array.strides[:-2], strict=True)
    return all(outer == extent * inner for extent, inner, outer in pairs)


def empty(like: Array, shape: tuple[int, ...], dtype: Any = None) -> Array:
    """An uninitialised array where `like` is."""
    dtype = like.dtype if dtype is None else dtype
    return np.empty(shape, dtype) if array_kind(like) == "cpu" else runtime_of(like).empty(shape, dtype)


def output(
    out: Array | None,
    like: Array,
    shape: tuple[int, ...],
    dtype: Any = None,
    name: str = "out",
    channel_range: bool = False,
) -> Array:
    """`out`, checked, or a new array where `like` is."""
    dtype = like.dtype if dtype is None else dtype
    if out is None:
        return empty(like, shape, dtype)
    check(name, out, shape, dtype, channel_range)
    return out


def require_apart(out: Array, **inputs: Array | None) -> None:
    """Refuse an `out` that shares memory with an input, of operations that read what lies around what they write.

    Raises
    ------
    ValueError
        Which input it overlaps; ranges of the last dimension of a wider array, which may lie between each other, are
        not looked at.
    """
    start, end = _span(out)
    for name, array in inputs.items():
        if array is not None and array.size and out.size and array.flags.c_contiguous and out.flags.c_contiguous:
            first, last = _span(array)
            if start < last and first < end:
                raise ValueError(f"out overlaps {name}; expected memory of its own")


def _span(array: Array) -> tuple[int, int]:
    start: int = array.data.ptr if is_cupy(array) else array.ctypes.data
    return start, start + array.nbytes


def accumulator_output(out: Array | None, like: Array, shape: tuple[int, ...], **inputs: Array) -> Array:
    """`out`, checked, or a new array: of the dtype of `like`, or of its accumulators, which are not rounded then.

    `inputs` are what `out` may not overlap.
    """
    wide = out is not None and getattr(out, "dtype", None) == accumulator_dtype(like.dtype)
    given = output(out, like, shape, accumulator_dtype(like.dtype) if wide else None, channel_range=True)
    if out is not None:
        require_apart(given, **inputs)
    return given


def check_precision(precision: str | None, dtype: Any) -> None:
    """Require a precision that arrays of `dtype` can be multiplied in."""
    offered = ("float32", "tf32") if dtype == np.float32 else (np.dtype(dtype).name,)
    if precision is not None and precision not in offered:
        raise ValueError(f"precision must be {' or '.join(offered)} for {np.dtype(dtype)} arrays, got {precision!r}")


def check_mask(mask: Array | None, mask_scale: float, like: Array, shape: tuple[int, ...]) -> None:
    """Require a mask of a gradient's shape and of dy's dtype, and a finite scale."""
    if mask is not None:
        check("mask", mask, shape, like.dtype, channel_range=True)
    if not math.isfinite(mask_scale):
        raise ValueError(f"mask_scale must be finite, got {mask_scale}")
    if mask is None and mask_scale != 1.0:
        raise ValueError(f"mask_scale belongs to a mask, got {mask_scale} and no mask")


def integers(name: str, values: Any, count: int, least: int) -> tuple[int, ...]:
    """So many integers that an int of C holds, checked; one may be given bare."""
    expected = f"{name} must be {count} integer{'s' * (count > 1)} of at least {least}, got {values!r}"
    try:
        numbers = tuple(operator.index(v) for v in (values if isinstance(values, (tuple, list)) else (values,)))
    except TypeError:
        raise TypeError(expected) from None
    if len(numbers) != count or min(numbers) < least:
        raise ValueError(expected)
    if max(numbers) > MOST:
        raise ValueError(f"{name} must be at most {MOST}, got {values!r}")
    return numbers


def pair(name: str, value: int | tuple[int, int], least: int) -> tuple[int, int]:
    """Two integers, vertical and horizontal, from one or two."""
    vertical, horizontal = integers(name, value if isinstance(value, (tuple, list)) else (value, value), 2, least)
    return vertical, horizontal


def check_activation(activation: str) -> None:
    """Require a known activation."""
    if activation not in ("none", *ACTIVATIONS):
        *others, last = map(repr, ("none", *ACTIVATIONS))
        raise ValueError(f"activation must be {', '.join(others)} or {last}, got {activation!r}")
