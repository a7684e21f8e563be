"""Dropout: which elements are dropped is fixed to the bit, on every backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from alexnet_cuda.base import philox
from alexnet_cuda.ops import dropout

from .backends import Backend, assert_alignment_changes_nothing, assert_repeats
from .small import small
from .tolerance import Precision, assert_equal

Array = npt.NDArray[Any]
KEY = {"seed": 0x1234_5678_9ABC_DEF0, "purpose": philox.Purpose.DROPOUT + 6, "step": 2**33 + 5}


def masked(x: Array, rate: float, start: int, row_stride: int) -> Array:
    """By loops: element (r, c) draws word e % 4 of the Philox block e // 4, for e = start + r * row_stride + c."""
    seed, purpose, step = KEY["seed"], KEY["purpose"], KEY["step"]
    key = (seed & 0xFFFFFFFF, seed >> 32)
    out = np.zeros_like(x)
    scale = np.float64(np.float32(1.0 / (1.0 - rate)))
    for r, c in np.ndindex(*x.shape):
        element = start + r * row_stride + c
        counter = [element // 4, purpose, step & 0xFFFFFFFF, step >> 32]
        word = int(philox.philox4x32(counter, key)[element % 4])
        if word >= round(rate * 2**32):
            out[r, c] = np.float64(x[r, c]) * scale  # the product is exact in float64, so it rounds once
    return out


def parameters(rate: float, columns: int, **change: Any) -> Any:
    return dropout.parameters(rate, **{**KEY, "row_stride": columns, **change})


# The kernels take 4 or 8 numbers at once where columns, start and row stride are multiples of that, or of 4.
@small(rate=[0.5], shape=[(3, 7), (5, 16)])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9, 1 - 2.0**-20])
@pytest.mark.parametrize(
    ("shape", "start", "row_stride"),
    [
        ((1, 1), 0, 1),
        ((3, 7), 0, 7),
        ((5, 8), 3, 8),
        ((4, 6), 2**33 + 1, 13),
        ((2, 9), 6, 9),
        ((1, 33), 1, 40),
        ((4, 8), 0, 8),
        ((5, 16), 16, 64),
        ((6, 12), 4, 24),
        ((3, 8), 4, 10),
        ((4, 16), 2**34 - 80, 20),
    ],
    ids=str,
)
def test_mask_and_values_to_the_bit(
    backend: Backend, precision: Precision, rate: float, shape: tuple[int, int], start: int, row_stride: int
) -> None:
    x = precision.array(np.random.default_rng(12).standard_normal(shape))
    p = parameters(rate, row_stride, start=start)
    for place in (backend.to_device, backend.shifted):
        y = dropout.apply(place(x), p, out=backend.poisoned(shape, precision.dtype))
        assert_equal(backend.to_host(y), masked(x, rate, start, row_stride))


def test_the_scale_may_be_given(backend: Backend, precision: Precision) -> None:
    x = precision.array(np.random.default_rng(13).standard_normal((5, 8)))
    for rate, scale in ((0.4, 1.0), (0.0, 0.25)):  # of a power of two, so nothing is rounded
        y = backend.to_host(dropout.apply(backend.to_device(x), parameters(rate, 8, scale=scale)))
        kept = masked(np.ones_like(x), rate, 0, 8) != 0
        assert_equal(y, np.where(kept, x * x.dtype.type(scale), x.dtype.type(0)))
    for wrong in (float("inf"), float("nan"), 1e39, 1e-46, 0.0, -1.0):
        with pytest.raises(ValueError, match="scale must be positive and within float32, got") as caught:
            parameters(0.4, 8, scale=wrong)
        assert str(caught.value).endswith(str(wrong))


def test_the_threshold_is_exact(backend: Backend, precision: Precision) -> None:
    words = philox.bits(KEY["seed"], KEY["purpose"], KEY["step"], 0, 8)
    x = backend.to_device(precision.array(np.ones((1, 8))))
    for at, word in enumerate(words.tolist()):
        for excess, kept in ((0.0, True), (0.4, True), (0.6, False), (1.0, False)):  # rounded to the nearest integer
            y = backend.to_host(dropout.apply(x, parameters((word + excess) / 2**32, 8)))
            assert (y[0, at] != 0) == kept


# The CPU masks 65536 numbers at a time, a grid of the kernels has 540672 threads.
@pytest.mark.parametrize("shape", [(280, 2049), (1100, 2048)], ids=["scalar loads", "vectors"])
def test_many_rows_are_masked_as_few(backend: Backend, shape: tuple[int, int]) -> None:
    columns = shape[1]
    x = np.ones(shape, np.float32)
    on_device = backend.to_device(x)
    y = backend.to_host(dropout.apply(on_device, parameters(0.5, columns), out=on_device))  # what is done twice shows
    words = philox.bits(KEY["seed"], KEY["purpose"], KEY["step"], 0, x.size).reshape(x.shape)
    assert_equal(y, np.where(words >= 2**31, np.float32(2.0), np.float32(0.0)))


def test_two_halves_draw_what_the_whole_does(backend: Backend, precision: Precision) -> None:
    for half in (7, 8):
        x = precision.array(np.random.default_rng(13).standard_normal((5, 2 * half)))
        whole = backend.to_host(dropout.apply(backend.to_device(x), parameters(0.4, 2 * half)))
        halves = [
            dropout.apply(backend.to_device(x[:, lo : lo + half].copy()), parameters(0.4, 2 * half, start=lo))
            for lo in (0, half)
        ]
        assert_equal(np.concatenate([backend.to_host(y) for y in halves], axis=1), whole)


def test_the_step_may_lie_where_the_operation_runs(backend: Backend, precision: Precision) -> None:
    x = backend.to_device(precision.array(np.random.default_rng(13).standard_normal((5, 8))))
    step = backend.to_device(np.array([KEY["step"]], np.uint64))
    p = parameters(0.4, 8, step=step)
    assert backend.bits(dropout.apply(x, p)) == backend.bits(dropout.apply(x, parameters(0.4, 8)))
    if backend.name != "cuda":  # the same parameters, read anew
        step[...] = 9
        assert backend.bits(dropout.apply(x, p)) == backend.bits(dropout.apply(x, parameters(0.4, 8, step=9)))


def test_what_is_dropped_is_zero_whatever_it_was(backend: Backend, precision: Precision) -> None:
    words = philox.bits(KEY["seed"], KEY["purpose"], KEY["step"], 0, 48).reshape(3, 16)
    for value in (np.inf, np.nan):
        x = np.where(words < 2**31, value, 1.0)
        y = dropout.apply(backend.to_device(precision.array(x)), parameters(0.5, 16))
        assert_equal(backend.to_host(y), precision.array(np.where(words < 2**31, 0.0, 2.0)))


def test_rate_is_kept_on_average_and_every_part_of_the_key_matters(backend: Backend, precision: Precision) -> None:
    x = backend.to_device(precision.array(np.ones((64, 1024))))
    masks = []
    for change in ({}, {"seed": 1}, {"seed": 1 << 32}, {"purpose": 7}, {"step": 0}, {"step": 1 << 32}, {"start": 4}):
        y = backend.to_host(dropout.apply(x, parameters(0.3, 1024, **change)))
        masks.append(np.asarray(y != 0))
        # 65536 draws: the rate's standard deviation is 0.0018.
        assert abs(masks[-1].mean() - 0.7) < 5 * 0.0018
    for i, one in enumerate(masks):
        for other in masks[i + 1 :]:
            assert abs((one & other).mean() - 0.49) < 5 * 0.002


def test_results_go_to_the_array_given_or_in_place(backend: Backend, precision: Precision) -> None:
    x = backend.to_device(precision.array(np.random.default_rng(14).standard_normal((3, 9))))
    p = parameters(0.5, 9)
    expected = backend.to_host(dropout.apply(x, p))
    out = backend.poisoned((3, 9), precision.dtype)
    assert dropout.apply(x, p, out=out) is out
    assert_equal(backend.to_host(out), expected)
    assert dropout.apply(x, p, out=x) is x
    assert_equal(backend.to_host(x), expected)


def test_arrays_that_lie_on_no_multiple_of_16_bytes(backend: Backend, precision: Precision) -> None:
    arrays = {name: precision.array(np.random.default_rng(14).standard_normal((5, 32))) for name in ("x", "out")}
    assert_alignment_changes_nothing(backend, arrays, lambda x, out: [dropout.apply(x, parameters(0.5, 32), out=out)])


def test_repeats_to_the_bit(backend: Backend) -> None:
    x = np.random.default_rng(14).standard_normal((5, 256)).astype(np.float32)
    assert_repeats(backend, lambda: [dropout.apply(backend.to_device(x), parameters(0.5, 256))])


@pytest.mark.parametrize("shape", [(0, 5), (4, 0), (0, 0)])
def test_nothing_in_nothing_out(backend: Backend, precision: Precision, shape: tuple[int, int]) -> None:
    x = backend.to_device(precision.array(np.zeros(shape)))
    assert dropout.apply(x, parameters(0.5, max(shape[1], 1))).shape == shape


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rate": 1.0}, "rate must be in [0, 1), got 1.0"),
        ({"rate": -0.1}, "rate must be in [0, 1), got -0.1"),
        ({"rate": float("nan")}, "rate must be in [0, 1), got nan"),
        ({"start": -1}, "start must not be negative and row_stride positive, got -1 and 5"),
        ({"row_stride": 0}, "row_stride positive, got 0 and 0"),
        ({"row_stride": 4}, "row_stride must be at least the 5 columns, got 4"),
        ({"seed": -1}, "64-bit unsigned integers, got seed -1"),
        ({"step": 1 << 64}, f"step {1 << 64}"),
        ({"purpose": 1 << 32}, f"purpose must be a 32-bit unsigned integer, got {1 << 32}"),
        ({"start": (1 << 34) - 9}, "elements must lie in [0, 2**34]"),
    ],
    ids=str,
)
def test_bad_arguments_name_what_was_given_and_expected(
    backend: Backend, precision: Precision, change: dict[str, Any], words: str
) -> None:
    x = backend.to_device(precision.array(np.zeros((2, 5))))
    with pytest.raises(ValueError, match="must") as caught:
        dropout.apply(x, dropout.parameters(**{"rate": 0.5, **KEY, "row_stride": 5, **change}))
    assert words in str(caught.value)


def test_bad_rank_and_step(backend: Backend, precision: Precision) -> None:
    with pytest.raises(ValueError, match=r"x must have shape \[any, any\], got \[10\]"):
        dropout.apply(backend.to_device(precision.array(np.zeros(10))), parameters(0.5, 10))
    with pytest.raises(ValueError, match=r"step must have shape \[1\], got \[2\]"):
        parameters(0.5, 10, step=backend.to_device(np.zeros(2, np.uint64)))
    with pytest.raises(TypeError, match="step must be of dtype uint64, got int64"):
        parameters(0.5, 10, step=backend.to_device(np.zeros(1, np.int64)))
