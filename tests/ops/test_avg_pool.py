"""Average-pooling."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from alexnet_cuda.ops import avg_pool

from .backends import Backend
from .tolerance import Precision, assert_close, assert_equal, assert_gradient

Array = npt.NDArray[Any]
Shape = tuple[int, int, int, int]

# Input shape, size and stride.
CASES: dict[str, tuple[Shape, int, int]] = {
    "overlapping": ((2, 7, 9, 5), 3, 2),
    "a rest left out": ((1, 8, 6, 3), 3, 2),
    "side by side": ((3, 6, 4, 2), 2, 2),
    "gaps": ((1, 9, 11, 2), 2, 5),
    "one window": ((1, 4, 4, 1), 4, 3),
    "empty batch": ((0, 7, 9, 5), 3, 2),
}
all_cases = pytest.mark.parametrize(("shape", "size", "stride"), CASES.values(), ids=CASES)


def loops(x: Array, dy: Array, size: int, stride: int) -> tuple[Array, Array]:
    """Means and gradient in float64, straight from the definition."""
    y, dx = np.zeros(dy.shape), np.zeros(x.shape)
    for n, p, q, c in np.ndindex(*dy.shape):
        for r, s in np.ndindex(size, size):
            y[n, p, q, c] += float(x[n, p * stride + r, q * stride + s, c]) / size**2
            dx[n, p * stride + r, q * stride + s, c] += float(dy[n, p, q, c]) / size**2
    return y, dx


def arrays(shape: Shape, size: int, stride: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(11)
    n, h, w, c = shape
    x = rng.standard_normal(shape)
    return x, rng.standard_normal((n, (h - size) // stride + 1, (w - size) // stride + 1, c))


@all_cases
def test_fprop_and_bprop(backend: Backend, precision: Precision, shape: Shape, size: int, stride: int) -> None:
    x, dy = (precision.array(a) for a in arrays(shape, size, stride))
    (y, dx), sizes = loops(x, dy, size, stride), loops(np.abs(x), np.abs(dy), size, stride)
    units = size**2 + 2  # an addition each, the factor and its product
    actual = avg_pool.fprop(backend.to_device(x), size=size, stride=stride)
    assert_close(
        backend.to_host(actual), y, precision.bound(y, units * sizes[0]), precision.dtype, precision.accumulate
    )
    actual = avg_pool.bprop(backend.to_device(dy), shape, size=size, stride=stride)
    assert_close(
        backend.to_host(actual), dx, precision.bound(dx, units * sizes[1]), precision.dtype, precision.accumulate
    )


@pytest.mark.parametrize("name", ["overlapping", "gaps"])
def test_reference_equals_loops_and_differences(name: str) -> None:
    shape, size, stride = CASES[name]
    x, dy = arrays(shape, size, stride)
    y, dx = loops(x, dy, size, stride)
    assert_close(avg_pool.fprop(x, size=size, stride=stride), y, np.full((), 1e-15), np.float64)
    assert_close(avg_pool.bprop(dy, shape, size=size, stride=stride), dx, np.full((), 1e-15), np.float64)
    assert_gradient(lambda moved: avg_pool.fprop(moved, size=size, stride=stride), x, dy, dx)


def test_results_go_to_the_arrays_given(backend: Backend, precision: Precision) -> None:
    x, dy = (backend.to_device(precision.array(a)) for a in arrays((2, 7, 9, 5), 3, 2))
    y, dx = backend.poisoned(dy.shape, precision.dtype), backend.poisoned(x.shape, precision.dtype)
    assert avg_pool.fprop(x, out=y) is y
    assert_equal(backend.to_host(y), backend.to_host(avg_pool.fprop(x)))
    assert avg_pool.bprop(dy, x.shape, out=dx) is dx
    assert_equal(backend.to_host(dx), backend.to_host(avg_pool.bprop(dy, x.shape)))


def test_bad_arguments_name_what_was_given_and_expected(backend: Backend, precision: Precision) -> None:
    def zeros(*shape: int) -> Any:
        return backend.to_device(precision.array(np.zeros(shape)))

    with pytest.raises(ValueError, match=r"x must have shape \[any, any, any, any\], got \[7, 9, 2\]"):
        avg_pool.fprop(zeros(7, 9, 2))
    with pytest.raises(ValueError, match="the input's extent, 2x9, and at most 15, got 3"):
        avg_pool.fprop(zeros(1, 2, 9, 2))
    with pytest.raises(ValueError, match=r"dy must have shape \[1, 3, 4, 2\], got \[1, 4, 3, 2\]"):
        avg_pool.bprop(zeros(1, 4, 3, 2), (1, 7, 9, 2))
