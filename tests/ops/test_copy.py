"""Copies between dtypes and ranges of columns: one rounding, to nearest even, and nothing written beside."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

from alexnet_cuda.ops import copy

from .backends import Backend, assert_alignment_changes_nothing, assert_repeats
from .small import small
from .tolerance import Precision, assert_equal

Array = npt.NDArray[Any]
DTYPES = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16, "float16": np.float16}
to_dtype = pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
added = pytest.mark.parametrize("with_addend", [False, True], ids=["", "addend"])
# Shape; first column and columns of the whole of x, addend and out. The kernels take 4 or 8 numbers at once where
# columns, pitches and starts are multiples of that.
CASES: dict[str, tuple[tuple[int, ...], tuple[int, int], tuple[int, int], tuple[int, int]]] = {
    "whole": ((3, 7), (0, 7), (0, 7), (0, 7)),
    "whole, vectors": ((5, 2, 16), (0, 16), (0, 16), (0, 16)),
    "by number": ((2, 3, 5), (1, 7), (2, 7), (3, 9)),
    "vectors of ranges": ((2, 3, 24), (24, 48), (8, 40), (16, 64)),
    "out alone is odd": ((4, 16), (0, 16), (0, 16), (1, 17)),
    "x alone begins at an odd place": ((4, 16), (1, 24), (0, 16), (0, 16)),
    "the addend alone is odd": ((4, 16), (0, 16), (3, 19), (0, 16)),
    "one past a block of threads": ((257, 8), (8, 16), (0, 8), (0, 8)),
    "one dimension": ((9,), (0, 9), (0, 9), (0, 9)),
    "nothing": ((0, 8), (0, 8), (0, 8), (0, 8)),
}
all_cases = pytest.mark.parametrize(("shape", "x_at", "addend_at", "out_at"), CASES.values(), ids=CASES)


def summed(x: Array, addend: Array | None, dtype: npt.DTypeLike) -> Array:
    """In float32, then rounded."""
    total = x.astype(np.float32) if addend is None else x.astype(np.float32) + addend.astype(np.float32)
    return np.asarray(total.astype(dtype))


@small(shape=[CASES[name][0] for name in ("by number", "vectors of ranges")], with_addend=[True])
@all_cases
@to_dtype
@added
def test_values(
    backend: Backend,
    precision: Precision,
    shape: tuple[int, ...],
    x_at: tuple[int, int],
    addend_at: tuple[int, int],
    out_at: tuple[int, int],
    dtype: Any,
    with_addend: bool,
) -> None:
    rng = np.random.default_rng(19)
    x, addend = (precision.array(rng.standard_normal(shape)) for _ in range(2))
    there, there_too = backend.channel_range(x, *x_at), backend.channel_range(addend, *addend_at)
    out = backend.channel_range(np.full(shape, np.nan, dtype), *out_at)
    given = copy.cast(there.array, out=out.array, addend=there_too.array if with_addend else None)
    assert given is out.array
    assert_equal(out.to_host(), summed(x, addend if with_addend else None, dtype))
    assert_equal(there.to_host(), x)
    assert_equal(there_too.to_host(), addend)


@to_dtype
def test_rounds_to_nearest_even_and_keeps_what_is_no_number(backend: Backend, precision: Precision, dtype: Any) -> None:
    unit = float(ml_dtypes.finfo(dtype).eps)
    ties = [1 + unit / 2, 1 + 3 * unit / 2, -1 - unit / 2, -1 - 3 * unit / 2, 1 + unit * 0.5001]
    out = backend.poisoned((14,), dtype)
    with np.errstate(over="ignore"):
        x = precision.array([*ties, np.inf, -np.inf, np.nan, 65519.0, 65520.0, 3e38, 1e-8, -0.0, 0.0])
        copy.cast(backend.to_device(x), out=out)
        expected = x.astype(np.float32).astype(dtype)
    actual = backend.to_host(out)
    assert np.isnan(actual[7])
    number = np.arange(x.size) != 7
    assert_equal(actual[number], expected[number])
    assert np.array_equal(np.signbit(actual[number]), np.signbit(expected[number]))


@to_dtype
@pytest.mark.parametrize("x_dtype", DTYPES.values(), ids=DTYPES)
def test_the_sum_is_rounded_once(backend: Backend, x_dtype: Any, dtype: Any) -> None:
    # x + addend is no number of bfloat16, though both are.
    x, addend = (np.full((1, 16), value).astype(x_dtype) for value in (1.0, 2.0**-9))
    out = backend.poisoned((1, 16), dtype)
    copy.cast(backend.to_device(x), out=out, addend=backend.to_device(addend))
    assert_equal(backend.to_host(out), np.full((1, 16), 1 + 2.0**-9).astype(np.float32).astype(dtype))


@pytest.mark.parametrize("columns", [5, 16])
def test_in_place(backend: Backend, precision: Precision, columns: int) -> None:
    rng = np.random.default_rng(20)
    x, addend = (precision.array(rng.standard_normal((6, columns))) for _ in range(2))
    expected = summed(x, addend, precision.dtype)
    for target in (0, 1):
        there = [backend.to_device(a) for a in (x, addend)]
        copy.cast(there[0], out=there[target], addend=there[1])
        assert_equal(backend.to_host(there[target]), expected)


def test_more_numbers_than_a_grid_has_threads(kernels: Backend) -> None:
    x = np.random.default_rng(19).standard_normal((77236, 7)).astype(np.float32)  # 2112 blocks of 256 threads, and 20
    out = kernels.poisoned(x.shape, np.float16)
    assert_equal(kernels.to_host(copy.cast(kernels.to_device(x), out=out)), x.astype(np.float16))
    there = kernels.to_device(x)
    copy.cast(there, out=there, addend=there)  # in place what is done twice shows
    assert_equal(kernels.to_host(there), x + x)


@to_dtype
def test_arrays_that_lie_on_no_multiple_of_16_bytes(backend: Backend, precision: Precision, dtype: Any) -> None:
    rng = np.random.default_rng(17)
    arrays = {name: precision.array(rng.standard_normal((3, 32))) for name in ("x", "addend")}
    arrays |= {"out": np.zeros((3, 32), dtype)}
    assert_alignment_changes_nothing(backend, arrays, lambda x, addend, out: [copy.cast(x, out=out, addend=addend)])


def test_repeats_to_the_bit(backend: Backend, precision: Precision) -> None:
    x = precision.array(np.random.default_rng(19).standard_normal((33, 24)))

    def run() -> list[Any]:
        there = backend.to_device(x)
        return [copy.cast(there, out=backend.poisoned(x.shape, np.float16), addend=there)]

    assert_repeats(backend, run)


def test_bad_arguments_name_what_was_given_and_expected(backend: Backend) -> None:
    def zeros(*shape: int, dtype: npt.DTypeLike = np.float32) -> Any:
        return backend.to_device(np.zeros(shape, dtype))

    with pytest.raises(ValueError, match=r"out must have shape \[2, 3\], got \[3, 2\]"):
        copy.cast(zeros(2, 3), out=zeros(3, 2))
    with pytest.raises(ValueError, match=r"addend must have shape \[2, 3\], got \[3, 2\]"):
        copy.cast(zeros(2, 3), out=zeros(2, 3), addend=zeros(3, 2))
    with pytest.raises(TypeError, match="addend must be of dtype float32, got float16"):
        copy.cast(zeros(2, 3), out=zeros(2, 3), addend=zeros(2, 3, dtype=np.float16))
    with pytest.raises(TypeError, match="out must be floating point, got int32"):
        copy.cast(zeros(2, 3), out=zeros(2, 3, dtype=np.int32))
    with pytest.raises(ValueError, match="x must be C-contiguous"):
        copy.cast(zeros(2, 6)[:, ::2], out=zeros(2, 3))
