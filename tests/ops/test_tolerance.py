"""The helpers of the tests of the operations: what they let pass, and what not."""

from __future__ import annotations

import numpy as np
import pytest

from .tolerance import (
    PRECISIONS,
    TENSOR_CORES,
    assert_close,
    assert_equal,
    assert_gradient,
    dot_terms,
    tensor_core_sum,
)

RNG = np.random.default_rng(0)
EXPECTED = RNG.standard_normal((40, 25))
BOUND = np.full(EXPECTED.shape, 1e-4)
NOISE = 2e-5 * RNG.standard_normal(EXPECTED.shape)


def test_close_takes_what_is_within_the_bound_and_an_empty_array() -> None:
    assert_close(EXPECTED + NOISE, EXPECTED, BOUND, np.float64)
    assert_close(np.zeros((2, 3)), np.zeros((2, 3)), np.zeros((2, 3)), np.float64)
    assert_close(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3)), np.float64)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_close_rejects_one_wrong_value_wherever_it_is(value: float) -> None:
    for at in ((0, 0), (17, 3), (39, 24)):
        actual = EXPECTED.copy()
        actual[at] = value
        with pytest.raises(AssertionError, match=r"not finite|out of bounds") as caught:
            assert_close(actual, EXPECTED, BOUND, np.float64)
        assert f"({at[0]}, {at[1]})" in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_close_rejects_a_reference_or_bound_that_is_not_finite(value: float) -> None:
    broken = EXPECTED.copy()
    broken[3, 3] = value
    with pytest.raises(AssertionError, match="reference or its bound"):
        assert_close(broken, broken, BOUND, np.float64)
    with pytest.raises(AssertionError, match="reference or its bound"):
        assert_close(EXPECTED, EXPECTED, np.where(np.isfinite(broken), 1e-4, value), np.float64)


def test_close_and_equal_reject_another_shape_dtype_or_type() -> None:
    other = (EXPECTED.T, EXPECTED[None], EXPECTED[:1], EXPECTED.astype(np.float32), EXPECTED.tolist(), np.float64(1))
    for actual in other:
        with pytest.raises(AssertionError, match=r"expected (shape|dtype|an array)"):
            assert_close(actual, EXPECTED, BOUND, np.float64)
        with pytest.raises(AssertionError, match=r"expected (shape|dtype|an array)"):
            assert_equal(actual, EXPECTED)


def test_close_rejects_systematic_errors_that_every_element_hides() -> None:
    with pytest.raises(AssertionError, match="relative L2"):
        assert_close(EXPECTED + 0.9e-4 * np.sign(NOISE), EXPECTED, BOUND, np.float64)
    with pytest.raises(AssertionError, match="gain"):
        assert_close(EXPECTED * (1 - 2e-5), EXPECTED, BOUND, np.float64)
    assert_close(EXPECTED * (1 - 2e-5), EXPECTED, BOUND, np.float64, shared=2e-5)
    # Elements that may be far off, as where a bound is relative to something large, still may not point elsewhere.
    with pytest.raises(AssertionError, match=r"relative L2|cosine"):
        assert_close(-EXPECTED, EXPECTED, np.abs(2 * EXPECTED), np.float64)


def test_close_sees_truncation_where_rounding_to_nearest_was_due() -> None:
    bfloat16 = PRECISIONS["bfloat16"]
    nearest = bfloat16.array(EXPECTED)
    cut = (EXPECTED.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32).astype(bfloat16.dtype)
    bound = bfloat16.bound(EXPECTED, 0.0)
    assert_close(nearest, EXPECTED, bound, bfloat16.dtype)
    with pytest.raises(AssertionError, match=r"gain|relative L2"):
        assert_close(cut, EXPECTED, 2 * bound, bfloat16.dtype)


def test_close_takes_the_rounding_of_few_elements_and_of_few_that_outweigh_the_others() -> None:
    bfloat16 = PRECISIONS["bfloat16"]
    for value in 1 + np.arange(1, 128) / 2**15:  # a single element may be off by all of its bound
        expected = np.array([value])
        assert_close(bfloat16.array(expected), expected, bfloat16.bound(expected, 0.0), bfloat16.dtype)
    for seed in range(50):
        expected = np.random.default_rng(seed).standard_normal(400) ** 7
        assert_close(bfloat16.array(expected), expected, bfloat16.bound(expected, 0.0), bfloat16.dtype)


def test_the_bound_of_sums_that_are_not_rounded_to_16_bits_sees_that_rounding() -> None:
    for name in ("bfloat16", "float16"):
        precision = TENSOR_CORES[name]
        x, w = (precision.array(RNG.standard_normal((400, 300))).astype(np.float64) for _ in range(2))
        expected, units = (x * w).sum(axis=0), precision.dot(400, (x**2 * w**2).sum(axis=0))
        kept = precision.sums
        assert kept.dtype == np.float32
        assert_close(expected.astype(np.float32), expected, kept.bound(expected, units), np.float32)
        assert_close(precision.array(expected), expected, precision.bound(expected, units), precision.dtype)
        rounded = precision.array(expected).astype(np.float32)
        with pytest.raises(AssertionError, match="out of bounds"):
            assert_close(rounded, expected, kept.bound(expected, units), np.float32)


def test_tensor_cores_may_cut_sums_off_but_not_the_factors() -> None:
    """Sums of 4 or 8 products as published; for float32 each of three products of TF32."""
    depth, count = 1200, 300
    for name, precision in TENSOR_CORES.items():
        x, w = (precision.array(RNG.standard_normal((depth, count))).astype(np.float64) for _ in range(2))
        expected, units = (x * w).sum(axis=0), precision.dot(depth, (x**2 * w**2).sum(axis=0))
        bound, shared = precision.sums.bound(expected, units), precision.cuts(depth) * precision.accumulate
        total = np.zeros(count)
        for begin in range(0, depth, precision.fresh or depth):
            fresh = np.zeros(count)
            for step in range(begin, min(begin + (precision.fresh or depth), depth), precision.step):
                part = slice(step, step + precision.step)
                fresh = tensor_core_sum(fresh, x[part] * w[part])
            total = (total + fresh).astype(np.float32).astype(np.float64)
        assert_close(total.astype(np.float32), expected, bound, np.float32, shared)
        coarse = PRECISIONS["tf32" if name == "float32" else "bfloat16"]
        if name in ("float32", "float16", "tf32"):
            x, w = (coarse.array(a).astype(np.float64) for a in (x, w))
            with pytest.raises(AssertionError, match="out of bounds"):
                assert_close((x * w).sum(axis=0).astype(np.float32), expected, bound, np.float32, shared)


def test_equal() -> None:
    assert_equal(np.array([0.0, -0.0, np.inf]), np.array([-0.0, 0.0, np.inf]))
    for actual in ([1.0, np.nextafter(2.0, 3.0)], [1.0, np.nan], [1.0, np.inf]):
        with pytest.raises(AssertionError, match=r"1 of 2 differ, first at \(1,\)"):
            assert_equal(np.array(actual), np.array([1.0, 2.0]))
    with pytest.raises(AssertionError, match="differ"):
        assert_equal(np.array([np.nan]), np.array([np.nan]))


def test_gradient_takes_the_right_one_and_rejects_a_wrong_sign_factor_or_element() -> None:
    x, dy = RNG.standard_normal((3, 4)), RNG.standard_normal((3, 4))
    right = dy * np.cos(x)
    assert_gradient(np.sin, x, dy, right)
    wrong = right.copy()
    wrong[2, 1] += 1e-6
    for gradient in (-right, 1.000001 * right, right.T.copy().reshape(3, 4), wrong, right.astype(np.float32)):
        with pytest.raises(AssertionError):
            assert_gradient(np.sin, x, dy, gradient)


def test_precisions_round_to_nearest_even_with_the_unit_they_name() -> None:
    values = np.abs(EXPECTED) + 0.1
    for precision in PRECISIONS.values():
        rounded = precision.array(values)
        assert rounded.dtype == precision.dtype
        unit = 2.0 ** -(precision.mantissa + 1)
        error = np.abs(rounded.astype(np.float64) - values) / values
        assert error.max() <= unit
        assert error.max() > 0.7 * unit or precision.name == "float64"
        again = precision.array(rounded)
        assert np.array_equal(again, rounded)
    ties = np.array([1 + 2.0**-11, 1 + 3 * 2.0**-11])
    assert PRECISIONS["tf32"].array(ties).tolist() == [1.0, 1 + 2.0**-9]


def test_dot_bound_holds_for_plain_sums_and_not_for_a_coarser_format() -> None:
    single, tf32 = PRECISIONS["float32"], PRECISIONS["tf32"]
    for depth in (1, 12, 400, 9216):
        x, w = single.array(RNG.standard_normal((depth, 300))), single.array(RNG.standard_normal((depth, 300)))
        expected = np.sum(x.astype(np.float64) * w.astype(np.float64), axis=0)
        squares = np.sum(x.astype(np.float64) ** 2 * w.astype(np.float64) ** 2, axis=0)
        bound = single.bound(expected, dot_terms(depth, squares))
        total = np.zeros(300, np.float32)
        for i in range(depth):
            total += x[i] * w[i]
        assert_close(total, expected, bound, np.float32)
        coarse = np.sum(tf32.array(x).astype(np.float64) * tf32.array(w).astype(np.float64), axis=0)
        with pytest.raises(AssertionError, match="out of bounds"):
            assert_close(coarse.astype(np.float32), expected, bound, np.float32)
