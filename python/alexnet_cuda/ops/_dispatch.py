"""Picks the backend of an array and checks arguments, for all operations."""

from __future__ import annotations

import importlib
import operator
from typing import Any

import numpy as np

Array = Any  # a NumPy or CuPy array


def backend(op: str, *arrays: Array) -> Any:
    """The module that implements `op` where the arrays are; None among them is passed over.

    Raises
    ------
    TypeError
        Something that is no NumPy or CuPy array, or arrays of both kinds.
    """
    kinds = {_kind(a) for a in arrays if a is not None}
    if len(kinds) != 1:
        raise TypeError(f"{op}: all arrays must be of one kind, got {' and '.join(sorted(kinds)) or 'none'}")
    return importlib.import_module(f"alexnet_cuda.backends.{kinds.pop()}.{op}")


def _kind(array: Array) -> str:
    if isinstance(array, np.ndarray):
        return "cpu"
    if type(array).__module__.partition(".")[0] == "cupy":
        return "cuda"
    raise TypeError(f"expected a NumPy or CuPy array, got {type(array).__name__}")


def check(name: str, array: Array, shape: tuple[int | None, ...] | None, dtype: Any = None) -> None:
    """Require a C-contiguous array of a shape (None: any, or any extent) and a dtype (None: floating point)."""
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
    if not array.flags.c_contiguous:
        raise ValueError(f"{name} must be C-contiguous, got strides {array.strides} for shape {list(actual)}")


def empty(like: Array, shape: tuple[int, ...], dtype: Any = None) -> Array:
    """An uninitialised array where `like` is."""
    dtype = like.dtype if dtype is None else dtype
    if isinstance(like, np.ndarray):
        return np.empty(shape, dtype)
    import cupy

    return cupy.empty(shape, dtype)


def output(out: Array | None, like: Array, shape: tuple[int, ...], dtype: Any = None, name: str = "out") -> Array:
    """`out`, checked, or a new array where `like` is."""
    dtype = like.dtype if dtype is None else dtype
    if out is None:
        return empty(like, shape, dtype)
    check(name, out, shape, dtype)
    return out


def integers(name: str, values: Any, count: int, least: int) -> tuple[int, ...]:
    """So many integers, checked; one may be given bare."""
    expected = f"{name} must be {count} integer{'s' * (count > 1)} of at least {least}, got {values!r}"
    try:
        numbers = tuple(operator.index(v) for v in (values if isinstance(values, (tuple, list)) else (values,)))
    except TypeError:
        raise TypeError(expected) from None
    if len(numbers) != count or min(numbers) < least:
        raise ValueError(expected)
    return numbers


def pair(name: str, value: int | tuple[int, int], least: int) -> tuple[int, int]:
    """Two integers, vertical and horizontal, from one or two."""
    vertical, horizontal = integers(name, value if isinstance(value, (tuple, list)) else (value, value), 2, least)
    return vertical, horizontal


def check_activation(activation: str) -> None:
    """Require a known activation."""
    if activation not in ("none", "relu", "tanh"):
        raise ValueError(f"activation must be 'none', 'relu' or 'tanh', got {activation!r}")
