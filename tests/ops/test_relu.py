"""ReLU, exact in every precision."""

from __future__ import annotations

import numpy as np
import pytest

from alexnet_cuda.ops import relu

from .backends import Backend
from .tolerance import Precision, assert_equal, assert_gradient

# The CPU works in blocks of 131072 numbers.
SHAPES = [(), (1,), (3, 5, 7, 2), (131073,), (0, 4)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_fprop_and_bprop(backend: Backend, precision: Precision, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(3)
    x, dy = (precision.array(rng.standard_normal(shape)) for _ in range(2))
    if x.size > 2:
        x.flat[:2] = 0.0, -0.0  # the gradient at 0 is 0
    y = relu.fprop(backend.to_device(x))
    dx = relu.bprop(backend.to_device(dy), y)
    zero = x.dtype.type(0)
    assert_equal(backend.to_host(y), np.asarray([v if v > 0 else zero for v in x.flat], x.dtype).reshape(shape))
    taken = [g if v > 0 else zero for v, g in zip(x.flat, dy.flat, strict=True)]
    assert_equal(backend.to_host(dx), np.asarray(taken, x.dtype).reshape(shape))


def test_reference_gradient_equals_differences() -> None:
    rng = np.random.default_rng(4)
    x, dy = rng.standard_normal((3, 5)), rng.standard_normal((3, 5))
    x += 0.1 * np.sign(x)  # away from the bend
    assert_gradient(relu.fprop, x, dy, relu.bprop(dy, relu.fprop(x)))


def test_nan_and_infinity_are_seen(backend: Backend, precision: Precision) -> None:
    x = precision.array([np.nan, np.inf, -np.inf, 1.0])
    y = backend.to_host(relu.fprop(backend.to_device(x)))
    assert np.isnan(y[0])
    assert_equal(y[1:], precision.array([np.inf, 0.0, 1.0]))


def test_results_go_to_the_arrays_given_or_in_place(backend: Backend, precision: Precision) -> None:
    values, gradient = precision.array([-1.0, 2.0, 0.5]), precision.array([3.0, 4.0, -5.0])
    x, dy, out = backend.to_device(values), backend.to_device(gradient), backend.poisoned((3,), precision.dtype)
    assert relu.fprop(x, out=out) is out
    assert relu.fprop(x, out=x) is x
    assert_equal(backend.to_host(out), precision.array([0.0, 2.0, 0.5]))
    assert_equal(backend.to_host(x), precision.array([0.0, 2.0, 0.5]))
    dx = backend.poisoned((3,), precision.dtype)
    assert relu.bprop(dy, x, out=dx) is dx
    assert relu.bprop(dy, x, out=dy) is dy
    assert_equal(backend.to_host(dx), precision.array([0.0, 4.0, -5.0]))
    assert_equal(backend.to_host(dy), precision.array([0.0, 4.0, -5.0]))
