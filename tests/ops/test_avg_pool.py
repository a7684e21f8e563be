"""Average-pooling."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from alexnet_cuda.base.windows import sides
from alexnet_cuda.ops import avg_pool

from .backends import Backend, assert_alignment_changes_nothing, assert_repeats
from .small import small
from .test_max_pool import Window
from .tolerance import PRECISIONS, Precision, assert_close, assert_equal, assert_gradient

Array = npt.NDArray[Any]
Shape = tuple[int, int, int, int]

# Input shape, window, and whether its padding counts. The kernels take 4 or 8 channels at once where they can.
CASES: dict[str, tuple[Shape, Window, bool]] = {
    "overlapping": ((2, 7, 9, 5), Window(3, 2), True),
    "a rest left out": ((1, 8, 6, 3), Window(3, 2), True),
    "side by side": ((3, 6, 4, 2), Window(2, 2), True),
    "gaps": ((1, 9, 11, 2), Window(2, 5), True),
    "one window": ((1, 4, 4, 1), Window(4, 3), True),
    "vectors": ((2, 7, 9, 24), Window(3, 2), True),
    "vectors with gaps": ((2, 9, 11, 8), Window(2, 5), True),
    "one past a block of threads": ((2, 6, 9, 257), Window(4, 1), True),
    "conv5's": ((2, 13, 13, 256), Window(3, 2), True),
    "padding counted": ((2, 7, 9, 5), Window(3, 2, 1), True),
    "padding not counted": ((2, 7, 9, 5), Window(3, 2, 1), False),
    "lopsided, ceil mode, counted": ((2, 8, 6, 3), Window(3, 2, ((1, 0), (0, 2)), True), True),
    "lopsided, ceil mode, not counted": ((2, 8, 6, 3), Window(3, 2, ((1, 0), (0, 2)), True), False),
    "ceil mode takes the rest": ((1, 8, 6, 8), Window(3, 2, 0, True), True),
    "vectors, padding lopsided": ((2, 6, 9, 24), Window(4, 2, ((0, 3), (2, 1))), True),
    "empty batch": ((0, 7, 9, 5), Window(3, 2), True),
}
all_cases = pytest.mark.parametrize(("shape", "window", "counted"), CASES.values(), ids=CASES)


def loops(x: Array, dy: Array, window: Window, counted: bool) -> tuple[Array, Array]:
    """Means and gradient in float64, straight from the definition."""
    y, dx, (begins, axes) = np.zeros(dy.shape), np.zeros(x.shape), (window.begins(x.shape), sides(window.padding))

    def along(axis: int, number: int) -> tuple[slice, int]:
        """What a window covers of the input, and how much of what counts."""
        begin, extent = begins[axis][number], x.shape[1 + axis]
        before, after = axes[axis] if counted else (0, 0)
        covered = np.arange(begin, begin + window.size)
        return slice(max(begin, 0), begin + window.size), int(((covered >= -before) & (covered < extent + after)).sum())

    for p, q in np.ndindex(*dy.shape[1:3]):
        (rows, high), (columns, wide) = along(0, p), along(1, q)
        y[:, p, q] = x[:, rows, columns].astype(np.float64).sum(axis=(1, 2)) / (high * wide)
        dx[:, rows, columns] += dy[:, p : p + 1, q : q + 1].astype(np.float64) / (high * wide)
    return y, dx


def arrays(shape: Shape, window: Window) -> tuple[Array, Array]:
    rng = np.random.default_rng(11)
    x = rng.standard_normal(shape)
    return x, rng.standard_normal((shape[0], *map(len, window.begins(shape)), shape[3]))


@small(
    shape=[CASES[name][0] for name in ("overlapping", "vectors", "vectors, padding lopsided")], placement=["to_device"]
)
@all_cases
@pytest.mark.parametrize("placement", ["to_device", "shifted"])
def test_fprop_and_bprop(
    backend: Backend, precision: Precision, shape: Shape, window: Window, counted: bool, placement: str
) -> None:
    x, dy = (precision.array(a) for a in arrays(shape, window))
    (y, dx), sizes = loops(x, dy, window, counted), loops(np.abs(x), np.abs(dy), window, counted)
    units = window.size**2 + 2  # an addition each, the factor and its product
    shared = precision.accumulate  # the rounded factor
    options = {**window.options, "count_include_pad": counted}
    actual = avg_pool.fprop(getattr(backend, placement)(x), out=backend.poisoned(y.shape, precision.dtype), **options)
    assert_close(backend.to_host(actual), y, precision.bound(y, units * sizes[0]), precision.dtype, shared)
    out = backend.poisoned(shape, precision.dtype)
    actual = avg_pool.bprop(getattr(backend, placement)(dy), shape, out=out, **options)
    assert_close(backend.to_host(actual), dx, precision.bound(dx, units * sizes[1]), precision.dtype, shared)


@pytest.mark.parametrize(
    "name", ["overlapping", "gaps", "lopsided, ceil mode, counted", "lopsided, ceil mode, not counted"]
)
def test_reference_equals_loops_and_differences(name: str) -> None:
    shape, window, counted = CASES[name]
    options = {**window.options, "count_include_pad": counted}
    x, dy = arrays(shape, window)
    y, dx = loops(x, dy, window, counted)
    assert_close(avg_pool.fprop(x, **options), y, np.full((), 1e-15), np.float64)
    assert_close(avg_pool.bprop(dy, shape, **options), dx, np.full((), 1e-15), np.float64)
    assert_gradient(lambda moved: avg_pool.fprop(moved, **options), x, dy, dx)


def test_results_go_to_the_arrays_given(backend: Backend, precision: Precision) -> None:
    x, dy = (backend.to_device(precision.array(a)) for a in arrays((2, 7, 9, 5), Window(3, 2)))
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
    with pytest.raises(ValueError, match="the padded input's extent, 2x9, and at most 15, got 3"):
        avg_pool.fprop(zeros(1, 2, 9, 2))
    with pytest.raises(ValueError, match=r"dy must have shape \[1, 3, 4, 2\], got \[1, 4, 3, 2\]"):
        avg_pool.bprop(zeros(1, 4, 3, 2), (1, 7, 9, 2))


def test_overlap_is_named(backend: Backend, precision: Precision) -> None:
    x = backend.to_device(precision.array(np.ones((1, 7, 9, 2))))
    before, y = backend.bits(x), x.reshape(-1)[:24].reshape(1, 3, 4, 2)
    with pytest.raises(ValueError, match="out overlaps x; expected memory of its own"):
        avg_pool.fprop(x, out=y)
    with pytest.raises(ValueError, match="out overlaps dy; expected memory of its own"):
        avg_pool.bprop(y, x.shape, out=x)
    assert backend.bits(x) == before


def test_arrays_that_lie_on_no_multiple_of_16_bytes(backend: Backend, precision: Precision) -> None:
    rng = np.random.default_rng(10)
    arrays_there = {name: precision.array(rng.standard_normal((2, 7, 9, 16))) for name in ("x", "dx")}
    arrays_there |= {name: precision.array(rng.standard_normal((2, 3, 4, 16))) for name in ("y", "dy")}

    def run(x: Any, dx: Any, y: Any, dy: Any) -> list[Any]:
        return [avg_pool.fprop(x, out=y), avg_pool.bprop(dy, x.shape, out=dx)]

    assert_alignment_changes_nothing(backend, arrays_there, run)


def test_repeats_to_the_bit(backend: Backend) -> None:
    x, dy = (PRECISIONS["float32"].array(a) for a in arrays((2, 7, 9, 24), Window(3, 2)))

    def run() -> list[Any]:
        return [avg_pool.fprop(backend.to_device(x)), avg_pool.bprop(backend.to_device(dy), x.shape)]

    assert_repeats(backend, run)
