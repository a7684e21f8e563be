"""The logistic function."""

from __future__ import annotations

import numpy as np
import pytest

from alexnet_cuda.ops import logistic

from .backends import Backend
from .small import small
from .tolerance import Precision, assert_close, assert_equal, assert_gradient


@small(shape=[(3, 5, 7, 2), (2048,)])
@pytest.mark.parametrize("shape", [(3, 5, 7, 2), (2048,), (5003,), (0, 4)], ids=str)
def test_fprop_and_bprop(backend: Backend, precision: Precision, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(7)
    x, dy = (precision.array(3 * rng.standard_normal(shape)) for _ in range(2))
    y = logistic.fprop(backend.to_device(x), out=backend.poisoned(shape, precision.dtype))
    expected = 1 / (1 + np.exp(-x.astype(np.float64)))
    # exp is documented to be within 2 units in the last place, 4 roundings; a sum and a quotient follow.
    bound = precision.bound(expected, 6 * expected)
    assert_close(backend.to_host(y), expected, bound, precision.dtype, shared=precision.accumulate)
    dx = logistic.bprop(backend.to_device(dy), y, out=backend.poisoned(shape, precision.dtype))
    y64, dy64 = backend.to_host(y).astype(np.float64), dy.astype(np.float64)
    expected = dy64 * y64 * (1 - y64)  # three roundings of numbers up to |dy|
    assert_close(backend.to_host(dx), expected, precision.bound(expected, 3 * np.abs(dy64)), precision.dtype)


def test_reference_gradient_equals_differences() -> None:
    rng = np.random.default_rng(8)
    x, dy = rng.standard_normal((3, 5)), rng.standard_normal((3, 5))
    assert_gradient(logistic.fprop, x, dy, logistic.bprop(dy, logistic.fprop(x)))


def test_ends_and_nan(backend: Backend, precision: Precision) -> None:
    x = backend.to_device(precision.array([np.inf, -np.inf, 60.0, -2000.0, 0.0, np.nan]))
    y = backend.to_host(logistic.fprop(x, out=x))
    assert_equal(y[:5], precision.array([1.0, 0.0, 1.0, 0.0, 0.5]))
    assert np.isnan(y[5])
