"""ReLU, exact in every precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from alexnet_cuda.ops import relu

from .backends import Backend, assert_alignment_changes_nothing, assert_repeats
from .small import small
from .tolerance import PRECISIONS, Precision, assert_equal, assert_gradient

# The CPU works in blocks of 131072 numbers, a thread of the kernels on 4 or 8 of them and on what they leave.
SHAPES = [(), (1,), (3, 5, 7, 2), (17,), (255,), (2048,), (5003,), (131073,), (0, 4)]


@small(shape=[(3, 5, 7, 2), (2048,)])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_fprop_and_bprop(backend: Backend, precision: Precision, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(3)
    x, dy = (precision.array(rng.standard_normal(shape)) for _ in range(2))
    if x.size > 2:
        x.flat[:2] = 0.0, -0.0  # the gradient at 0 is 0
    y = relu.fprop(backend.to_device(x), out=backend.poisoned(shape, precision.dtype))
    dx = relu.bprop(backend.to_device(dy), y, out=backend.poisoned(shape, precision.dtype))
    zero = x.dtype.type(0)
    assert_equal(backend.to_host(y), np.where(x > zero, x, zero))
    assert_equal(backend.to_host(dx), np.where(x > zero, dy, zero))


def test_arrays_that_lie_on_no_multiple_of_16_bytes(backend: Backend, precision: Precision) -> None:
    rng = np.random.default_rng(3)
    names = ("x", "dy", "y", "dx")
    arrays = {name: precision.array(rng.standard_normal(301)) for name in names}

    def run(x: Any, dy: Any, y: Any, dx: Any) -> list[Any]:
        return [relu.fprop(x, out=y), relu.bprop(dy, x, out=dx)]

    assert_alignment_changes_nothing(backend, arrays, run)


@pytest.mark.parametrize("there", ["to_device", "shifted"])
def test_more_numbers_than_a_grid_has_threads(kernels: Backend, there: str) -> None:
    # 2112 blocks of 256 threads, which take one number each where the array is shifted, else four.
    count = 2112 * 256 * (1 if there == "shifted" else 4) + 5
    x = np.random.default_rng(3).standard_normal(count).astype(np.float32)
    y = relu.fprop(getattr(kernels, there)(x), out=kernels.poisoned(x.shape, x.dtype))
    assert_equal(kernels.to_host(y), np.maximum(x, 0))


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


def test_nothing_passes_where_it_is_closed(backend: Backend, precision: Precision) -> None:
    dy = precision.array([np.inf, np.nan, -np.inf, np.inf, 2.0, np.inf])
    y = precision.array([0.0, 0.0, -0.0, np.nan, np.nan, 1.0])
    dx = relu.bprop(backend.to_device(dy), backend.to_device(y))
    assert_equal(backend.to_host(dx), precision.array([0.0, 0.0, 0.0, 0.0, 0.0, np.inf]))


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


def test_repeats_to_the_bit(backend: Backend) -> None:
    x = PRECISIONS["float32"].array(np.random.default_rng(3).standard_normal(1025))

    def run() -> list[Any]:
        y = relu.fprop(backend.to_device(x))
        return [y, relu.bprop(backend.to_device(x), y)]

    assert_repeats(backend, run)
