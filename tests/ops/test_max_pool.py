"""Max-pooling, exact in every precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from alexnet_cuda.ops import max_pool

from .backends import Backend
from .tolerance import Precision, assert_close, assert_equal, assert_gradient

Array = npt.NDArray[Any]
Shape = tuple[int, int, int, int]

# Input shape, size and stride.
CASES: dict[str, tuple[Shape, int, int]] = {
    "overlapping": ((2, 7, 9, 5), 3, 2),
    "a rest left out": ((1, 8, 6, 3), 3, 2),
    "side by side": ((3, 6, 4, 2), 2, 2),
    "much overlap": ((1, 5, 7, 3), 3, 1),
    "gaps": ((1, 9, 11, 2), 2, 5),
    "a window of 1": ((2, 3, 4, 2), 1, 1),
    "every other": ((1, 5, 6, 2), 1, 2),
    "one window": ((1, 4, 4, 1), 4, 3),
    "the largest window": ((1, 16, 15, 2), 15, 1),
    "empty batch": ((0, 7, 9, 5), 3, 2),
}
all_cases = pytest.mark.parametrize(("shape", "size", "stride"), CASES.values(), ids=CASES)


def loops(x: Array, size: int, stride: int) -> tuple[Array, Array]:
    """Maxima, and the first tap of each, straight from the definition."""
    n, h, w, c = x.shape
    shape = (n, (h - size) // stride + 1, (w - size) // stride + 1, c)
    y, argmax = np.full(shape, -np.inf, x.dtype), np.zeros(shape, np.uint8)
    for i, p, q, j in np.ndindex(*shape):
        for r, s in np.ndindex(size, size):
            value = x[i, p * stride + r, q * stride + s, j]
            if value > y[i, p, q, j]:
                y[i, p, q, j], argmax[i, p, q, j] = value, r * size + s
    return y, argmax


def spread(dy: Array, argmax: Array, shape: Shape, size: int, stride: int) -> Array:
    """The gradient in float64, each dy added to where its maximum was, with the same additions unsigned."""
    dx = np.zeros(shape)
    for at in np.ndindex(*dy.shape):
        n, p, q, c = at
        r, s = divmod(int(argmax[at]), size)
        dx[n, p * stride + r, q * stride + s, c] += float(dy[at])
    return dx


@all_cases
@pytest.mark.parametrize("values", ["apart", "ties"])
def test_fprop_and_bprop(
    backend: Backend, precision: Precision, shape: Shape, size: int, stride: int, values: str
) -> None:
    rng = np.random.default_rng(8)
    x = precision.array(rng.standard_normal(shape) if values == "apart" else rng.integers(-1, 2, shape))
    expected, taps = loops(x, size, stride)
    y, argmax = max_pool.fprop(backend.to_device(x), size=size, stride=stride)
    assert_equal(backend.to_host(y), expected)
    assert_equal(backend.to_host(argmax), taps)
    alone, none = max_pool.fprop(backend.to_device(x), size=size, stride=stride, train=False)
    assert none is None
    assert_equal(backend.to_host(alone), expected)
    dy = precision.array(rng.standard_normal(expected.shape))
    dx = max_pool.bprop(backend.to_device(dy), argmax, shape, size=size, stride=stride)
    gradient, sizes = spread(dy, taps, shape, size, stride), spread(np.abs(dy), taps, shape, size, stride)
    # At most so many windows share an element: each addition rounds once.
    bound = precision.bound(gradient, min(size, -(-size // stride)) ** 2 * sizes)
    assert_close(backend.to_host(dx), gradient, bound, precision.dtype)


@pytest.mark.parametrize("name", ["overlapping", "a rest left out", "gaps"])
def test_reference_gradient_equals_differences(name: str) -> None:
    shape, size, stride = CASES[name]
    rng = np.random.default_rng(9)
    x = rng.permutation(int(np.prod(shape))).reshape(shape) / 16.0  # no two closer than the step of the difference
    y, argmax = max_pool.fprop(x, size=size, stride=stride)
    dy = rng.standard_normal(y.shape)
    dx = max_pool.bprop(dy, argmax, shape, size=size, stride=stride)
    assert_gradient(lambda moved: max_pool.fprop(moved, size=size, stride=stride, train=False)[0], x, dy, dx)


def test_nan_spreads_to_every_window_that_holds_it_and_infinities_are_numbers(
    backend: Backend, precision: Precision
) -> None:
    x = np.zeros((1, 7, 7, 2))
    x[0, 2, 4, 0], x[0, 0, 0, 1], x[0, 6, 6, 1] = np.nan, -np.inf, np.inf
    y, argmax = (backend.to_host(a) for a in max_pool.fprop(backend.to_device(precision.array(x))))
    holds = np.zeros((3, 3), bool)
    holds[0, 1:] = holds[1, 1:] = True  # row 2 is in windows 0 and 1, column 4 in windows 1 and 2
    assert np.array_equal(np.isnan(y[0, :, :, 0]), holds)
    assert argmax.max() < 9
    assert y[0, 0, 0, 1] == 0
    assert argmax[0, 0, 0, 1] == 1
    assert y[0, 2, 2, 1] == np.inf
    assert argmax[0, 2, 2, 1] == 8
    lowest = precision.array(np.full((1, 3, 3, 1), -np.inf))
    y, argmax = (backend.to_host(a) for a in max_pool.fprop(backend.to_device(lowest)))
    assert y[0, 0, 0, 0] == -np.inf
    assert argmax[0, 0, 0, 0] == 0


def test_results_go_to_the_arrays_given(backend: Backend, precision: Precision) -> None:
    rng = np.random.default_rng(10)
    x, dy = (precision.array(rng.standard_normal(s)) for s in ((2, 7, 9, 5), (2, 3, 4, 5)))
    y, argmax = backend.poisoned(dy.shape, precision.dtype), backend.poisoned(dy.shape, np.uint8)
    written = max_pool.fprop(backend.to_device(x), out=y, argmax_out=argmax)
    assert written[0] is y
    assert written[1] is argmax
    for actual, expected in zip(written, loops(x, 3, 2), strict=True):
        assert_equal(backend.to_host(actual), expected)
    dx = backend.poisoned(x.shape, precision.dtype)
    assert max_pool.bprop(backend.to_device(dy), argmax, x.shape, out=dx) is dx
    assert_equal(backend.to_host(dx), backend.to_host(max_pool.bprop(backend.to_device(dy), argmax, x.shape)))


@pytest.mark.parametrize(
    ("size", "stride", "error", "words"),
    [
        (8, 1, ValueError, "size must be between 1 and the input's extent, 7x9, and at most 15, got 8"),
        (0, 1, ValueError, "size must be 1 integer of at least 1, got 0"),
        (2.5, 1, TypeError, "size must be 1 integer of at least 1, got 2.5"),
        (3, 0, ValueError, "stride must be 1 integer of at least 1, got 0"),
        (3, -2, ValueError, "stride must be 1 integer of at least 1, got -2"),
    ],
)
def test_bad_windows(
    backend: Backend, precision: Precision, size: int, stride: int, error: type[Exception], words: str
) -> None:
    x = backend.to_device(precision.array(np.zeros((1, 7, 9, 2))))
    with pytest.raises(error) as caught:
        max_pool.fprop(x, size=size, stride=stride)
    assert words in str(caught.value)


def test_bad_arguments_name_what_was_given_and_expected(backend: Backend, precision: Precision) -> None:
    def zeros(shape: tuple[int, ...], dtype: npt.DTypeLike = precision.dtype) -> Any:
        return backend.to_device(np.zeros(shape, dtype))

    with pytest.raises(ValueError, match=r"x must have shape \[any, any, any, any\], got \[7, 9, 2\]"):
        max_pool.fprop(zeros((7, 9, 2)))
    with pytest.raises(ValueError, match="at most 15, got 16"):
        max_pool.fprop(zeros((1, 20, 20, 1)), size=16)
    with pytest.raises(TypeError, match="argmax_out must be of dtype uint8, got int64"):
        max_pool.fprop(zeros((1, 7, 9, 2)), argmax_out=zeros((1, 3, 4, 2), np.int64))
    with pytest.raises(ValueError, match=r"dy must have shape \[1, 3, 4, 2\], got \[1, 4, 3, 2\]"):
        max_pool.bprop(zeros((1, 4, 3, 2)), zeros((1, 3, 4, 2), np.uint8), (1, 7, 9, 2))
    with pytest.raises(ValueError, match=r"argmax must have shape \[1, 3, 4, 2\], got \[1, 4, 3, 2\]"):
        max_pool.bprop(zeros((1, 3, 4, 2)), zeros((1, 4, 3, 2), np.uint8), (1, 7, 9, 2))
    with pytest.raises(TypeError, match="argmax must be of dtype uint8"):
        max_pool.bprop(zeros((1, 3, 4, 2)), zeros((1, 3, 4, 2), np.int64), (1, 7, 9, 2))
    with pytest.raises(ValueError, match=r"input_shape must be 4 integers of at least 0, got \(7, 9, 2\)"):
        max_pool.bprop(zeros((1, 3, 4, 2)), zeros((1, 3, 4, 2), np.uint8), (7, 9, 2))
