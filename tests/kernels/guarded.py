"""Arrays in the CPU executor's memory, which fails a kernel that touches a byte beyond them."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from alexnet_cuda import _simt
from alexnet_cuda.backends.kernels.conv2d import Problem
from alexnet_cuda.backends.kernels.linear import as_conv2d
from alexnet_cuda.backends.runtime import Tensor, pitch_of
from alexnet_cuda.base.params import Conv2dShape

Array = npt.NDArray[Any]
DTYPES: dict[str, Any] = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16, "float16": np.float16}


@contextmanager
def executor_seed(value: int) -> Iterator[None]:
    """The order in which the executor runs threads and blocks, for a while."""
    before = _simt.seed()
    _simt.set_seed(value=value)
    yield
    _simt.set_seed(value=before)


def empty(shape: tuple[int, ...] | int, dtype: Any) -> Array:
    """A poisoned array: bytes of 0xFF."""
    shape = (shape,) if isinstance(shape, int) else shape
    count, size = int(np.prod(shape)), np.dtype(dtype).itemsize
    address = _simt.allocate(bytes=max(count * size, 16), label="test")
    memory = (ctypes.c_char * (count * size)).from_address(address)
    weakref.finalize(memory, lambda: _simt.release(address=address))
    return np.frombuffer(memory, dtype, count).reshape(shape)


def device(values: npt.ArrayLike, dtype: Any = None) -> Array:
    """The values in the executor's memory."""
    given = np.asarray(values) if dtype is None else np.asarray(values).astype(dtype)
    result = empty(given.shape, given.dtype)
    result[...] = given
    return result


def tensors(**arrays: Array | None) -> dict[str, Tensor | None]:
    """Arrays as the extension takes them."""
    return {
        name: None if a is None else Tensor(name, a.ctypes.data if a.size else 0, a.dtype.name, a.shape, pitch_of(a))
        for name, a in arrays.items()
    }


def problem(
    shape: tuple[int, ...],
    precision: str,
    *,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    groups: int = 1,
    pitch: tuple[int, int, int] = (0, 0, 0),
    x_folded: bool = False,
) -> Problem:
    """A convolution of N, H, W, C, K, R, S, or a fully connected layer of rows, inputs, outputs."""
    if len(shape) == 3:
        return Problem(as_conv2d(*shape), precision, pitch)
    n, h, w, c, k, r, s = shape
    p, q = (
        ((h + 2 * padding[0] - r) // stride[0] + 1, (w + 2 * padding[1] - s) // stride[1] + 1)
        if min(stride)
        else (0, 0)
    )
    return Problem(Conv2dShape(n, h, w, c, k, r, s, p, q, stride, padding, groups), precision, pitch, x_folded)


_OPTIONS: dict[str, dict[str, Any]] = {
    "fprop": {"bias": None, "addend": None, "activation": "none", "dropout": None, "dropout_step": None},
    "dgrad": {"mask": None, "mask_scale": 1.0, "addend": None},
    "wgrad": {"dweight": None, "dbias": None, "accumulate": False, "sgd": None}
    | dict.fromkeys(("sgd_weights", "sgd_velocity", "sgd_copy", "sgd_learning_rate")),
}


def run_product(direction: str, problem: Problem, **arguments: Any) -> None:
    """``conv2d_<direction>`` with these arrays, Tensors and options; those not given are none."""
    room = empty(_simt.conv2d_workspace_bytes(problem=problem, direction=direction), np.uint8)
    given = {**_OPTIONS[direction], **arguments, "workspace": room}
    arrays = {name: value for name, value in given.items() if isinstance(value, np.ndarray)}
    getattr(_simt, f"conv2d_{direction}")(**given | tensors(**arrays), problem=problem, stream=0)


def assert_bits(actual: Array, expected: Array) -> None:
    """Equal in type, shape and every bit."""
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    bits = np.dtype(f"u{actual.dtype.itemsize}")
    actual, expected = (np.ascontiguousarray(array).view(bits) for array in (actual, expected))
    np.testing.assert_array_equal(actual, expected)
