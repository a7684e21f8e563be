"""Average-pooling."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from alexnet_cuda.ops import avg_pool

from .backends import Backend, assert_alignment_changes_nothing, assert_repeats
from .small import small
from .tolerance import PRECISIONS, Precision, assert_close, assert_equal, assert_gradient

Array = npt.NDArray[Any]
Shape = tuple[int, int, int, int]

# Input shape, size and stride. The kernels take 4 or 8 channels at once where the channels are a multiple of that.
CASES: dict[str, tuple[Shape, int, int]] = {
    "overlapping": ((2, 7, 9, 5), 3, 2),
    "a rest left out": ((1, 8, 6, 3), 3, 2),
    "side by side": ((3, 6, 4, 2), 2, 2),
    "gaps": ((1, 9, 11, 2), 2, 5),
    "one window": ((1, 4, 4, 1), 4, 3),
    "vectors": ((2, 7, 9, 24), 3, 2),
    "vectors with gaps": ((2, 9, 11, 8), 2, 5),
    "one past a block of threads": ((2, 6, 9, 257), 4, 1),
    "conv5's": ((2, 13, 13, 256), 3, 2),
    "empty batch": ((0, 7, 9, 5), 3, 2),
}
all_cases = pytest.mark.parametrize(("shape", "size", "stride"), CASES.values(), ids=CASES)


def loops(x: Array, dy: Array, size: int, stride: int) -> tuple[Array, Array]:
    """Means and gradient in float64, straight from the definition."""
    y, dx = np.zeros(dy.shape), np.zeros(x.shape)
    for p, q in np.ndindex(*dy.shape[1:3]):
        rows, columns = slice(p * stride, p * stride + size), slice(q * stride, q * stride + size)
        y[:, p, q] = x[:, rows, columns].astype(np.float64).sum(axis=(1, 2)) / size**2
        dx[:, rows, columns] += dy[:, p : p + 1, q : q + 1].astype(np.float64) / size**2
    return y, dx


def arrays(shape: Shape, size: int, stride: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(11)
    n, h, w, c = shape
    x = rng.standard_normal(shape)
    return x, rng.standard_normal((n, (h - size) // stride + 1, (w - size) // stride + 1, c))


@small(shape=[CASES[name][0] for name in ("overlapping", "vectors", "vectors with gaps")], there=["to_device"])
@all_cases
@pytest.mark.parametrize("there", ["to_device", "shifted"])
def test_fprop_and_bprop(
    backend: Backend, precision: Precision, shape: Shape, size: int, stride: int, there: str
) -> None:
    x, dy = (precision.array(a) for a in arrays(shape, size, stride))
    (y, dx), sizes = loops(x, dy, size, stride), loops(np.abs(x), np.abs(dy), size, stride)
    units = size**2 + 2  # an addition each, the factor and its product
    shared = precision.accumulate  # the rounded factor
    options = {"size": size, "stride": stride}
    actual = avg_pool.fprop(getattr(backend, there)(x), out=backend.poisoned(y.shape, precision.dtype), **options)
    assert_close(backend.to_host(actual), y, precision.bound(y, units * sizes[0]), precision.dtype, shared)
    out = backend.poisoned(shape, precision.dtype)
    actual = avg_pool.bprop(getattr(backend, there)(dy), shape, out=out, **options)
    assert_close(backend.to_host(actual), dx, precision.bound(dx, units * sizes[1]), precision.dtype, shared)


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


def test_overlap_is_named(kernels: Backend, precision: Precision) -> None:
    x = kernels.to_device(precision.array(np.ones((1, 7, 9, 2))))
    before, y = kernels.bits(x), x.reshape(-1)[:24].reshape(1, 3, 4, 2)
    with pytest.raises(ValueError, match="out overlaps x; expected memory of its own"):
        avg_pool.fprop(x, out=y)
    with pytest.raises(ValueError, match="out overlaps dy; expected memory of its own"):
        avg_pool.bprop(y, x.shape, out=x)
    assert kernels.bits(x) == before


def test_arrays_that_lie_on_no_multiple_of_16_bytes(backend: Backend, precision: Precision) -> None:
    rng = np.random.default_rng(10)
    arrays_there = {name: precision.array(rng.standard_normal((2, 7, 9, 16))) for name in ("x", "dx")}
    arrays_there |= {name: precision.array(rng.standard_normal((2, 3, 4, 16))) for name in ("y", "dy")}

    def run(x: Any, dx: Any, y: Any, dy: Any) -> list[Any]:
        return [avg_pool.fprop(x, out=y), avg_pool.bprop(dy, x.shape, out=dx)]

    assert_alignment_changes_nothing(backend, arrays_there, run)


def test_repeats_to_the_bit(backend: Backend) -> None:
    x, dy = (PRECISIONS["float32"].array(a) for a in arrays((2, 7, 9, 24), 3, 2))

    def run() -> list[Any]:
        return [avg_pool.fprop(backend.to_device(x)), avg_pool.bprop(backend.to_device(dy), x.shape)]

    assert_repeats(backend, run)
