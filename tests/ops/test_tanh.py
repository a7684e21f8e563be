"""Hyperbolic tangent."""

from __future__ import annotations

import math

import numpy as np
import pytest

from alexnet_cuda.ops import tanh

from .backends import Backend, assert_repeats
from .small import small
from .tolerance import PRECISIONS, Precision, assert_close, assert_equal, assert_gradient

# The CPU works in blocks of 131072 numbers, a thread of the kernels on 4 or 8 of them and on what they leave.
SHAPES = [(1,), (3, 5, 7, 2), (17,), (255,), (2048,), (5003,), (131073,), (0, 4)]


def test_reference_equals_the_mathematical_library_and_differences() -> None:
    rng = np.random.default_rng(5)
    x, dy = 3 * rng.standard_normal((4, 9)), rng.standard_normal((4, 9))
    y = np.array([[math.tanh(v) for v in row] for row in x])
    assert_close(tanh.fprop(x), y, np.full((), 1e-15), np.float64)
    assert_gradient(tanh.fprop, x, dy, tanh.bprop(dy, y))


@small(shape=[(3, 5, 7, 2), (2048,)], there=["to_device"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("there", ["to_device", "shifted"])
def test_fprop_and_bprop(backend: Backend, precision: Precision, shape: tuple[int, ...], there: str) -> None:
    rng = np.random.default_rng(6)
    x, dy = (precision.array(2 * rng.standard_normal(shape)) for _ in range(2))
    y = tanh.fprop(getattr(backend, there)(x), out=backend.poisoned(shape, precision.dtype))
    expected = np.tanh(x.astype(np.float64))
    # Libraries document up to 4 units in the last place, which is 8 roundings; of them all may have some in common.
    bound = precision.bound(expected, 8 * np.abs(expected))
    assert_close(backend.to_host(y), expected, bound, precision.dtype, shared=precision.accumulate)
    dx = tanh.bprop(getattr(backend, there)(dy), y, out=backend.poisoned(shape, precision.dtype))
    y64, dy64 = backend.to_host(y).astype(np.float64), dy.astype(np.float64)
    expected = dy64 * (1 - y64**2)  # three roundings of numbers up to |dy|
    assert_close(backend.to_host(dx), expected, precision.bound(expected, 3 * np.abs(dy64)), precision.dtype)


def test_ends_and_nan(backend: Backend, precision: Precision) -> None:
    y = backend.to_host(tanh.fprop(backend.to_device(precision.array([np.inf, -np.inf, 60.0, 0.0, np.nan]))))
    assert_equal(y[:4], precision.array([1.0, -1.0, 1.0, 0.0]))
    assert np.isnan(y[4])


def test_results_go_to_the_arrays_given_or_in_place(backend: Backend, precision: Precision) -> None:
    x, dy = (backend.to_device(precision.array(v)) for v in ([-1.0, 2.0, 0.5], [3.0, 4.0, -5.0]))
    expected = backend.to_host(tanh.fprop(x))
    out = backend.poisoned((3,), precision.dtype)
    assert tanh.fprop(x, out=out) is out
    assert tanh.fprop(x, out=x) is x
    assert_equal(backend.to_host(out), expected)
    assert_equal(backend.to_host(x), expected)
    expected = backend.to_host(tanh.bprop(dy, x))
    out = backend.poisoned((3,), precision.dtype)
    assert tanh.bprop(dy, x, out=out) is out
    assert tanh.bprop(dy, x, out=dy) is dy
    assert_equal(backend.to_host(out), expected)
    assert_equal(backend.to_host(dy), expected)


def test_repeats_to_the_bit(backend: Backend) -> None:
    x = PRECISIONS["float32"].array(np.random.default_rng(3).standard_normal(1025))

    def run() -> list[object]:
        y = tanh.fprop(backend.to_device(x))
        return [y, tanh.bprop(backend.to_device(x), y)]

    assert_repeats(backend, run)
