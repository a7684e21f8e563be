"""What "equal" means in the tests of the operations: precisions, bounds derived from them, gradients by differences.

Every comparison is against float64 and its bound is built from what rounding can do, never from what was observed: the
units below times the sizes of the terms that were added. NaN passes nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Doubles = npt.NDArray[np.float64]

_finfo: Any = ml_dtypes.finfo  # knows bfloat16 too; comes without annotations


@dataclass(frozen=True)
class Precision:
    """A number format that operations run in.

    Attributes
    ----------
    name : str
    dtype : dtype
        Of the arrays.
    mantissa : int
        Stored bits of the mantissa that the arithmetic uses of an input.
    output, accumulate : float
        Unit roundoff of a stored result, and of the sums on the way to it.
    step : int
        Products that one addition of a tensor core takes; 0: sums round to nearest, one after the other.
    fresh : int
        Products after which tensor cores begin anew, their sum then being added with rounding to nearest; 0: never.
    split : int
        Products that a tensor core forms of parts of numbers for each of theirs; 1: it takes them whole.
    """

    name: str
    dtype: np.dtype[Any]
    mantissa: int
    output: float
    accumulate: float
    step: int = 0
    fresh: int = 0
    split: int = 1

    @property
    def sums(self) -> Precision:
        """The same for results that are stored as the sums are: of the gradients of parameters, say."""
        return replace(
            self, dtype=np.dtype(np.float64 if self.name == "float64" else np.float32), output=self.accumulate
        )

    @property
    def option(self) -> str | None:
        """What operations take as `precision`."""
        return self.name if self.name == "tf32" else None

    def array(self, values: npt.ArrayLike) -> Array:
        """The values rounded to this precision, so that reference and operation see the same numbers."""
        rounded = np.asarray(values, np.float64).astype(self.dtype)
        drop = _finfo(self.dtype).nmant - self.mantissa
        if drop:  # tf32: to nearest even in the bits of float32
            bits = rounded.view(np.uint32)
            half = np.uint32((1 << (drop - 1)) - 1) + ((bits >> np.uint32(drop)) & np.uint32(1))
            rounded = ((bits + half) & ~np.uint32((1 << drop) - 1)).view(np.float32)
        return rounded

    def parameter(self, values: npt.ArrayLike) -> Array:
        """The values as bias, addend, or what the optimiser keeps."""
        return np.asarray(values, np.float64).astype(self.sums.dtype)

    def bound(self, expected: Array, terms: Array | float) -> Doubles:
        """How far a result may be from `expected`: its own rounding, and `terms` units of the sums that led to it."""
        tiny = float(_finfo(self.dtype).smallest_subnormal)
        return np.asarray(self.output * np.abs(expected) + self.accumulate * np.asarray(terms) + tiny, np.float64)

    def dot(self, depth: int, sum_of_squares: Array) -> Doubles:
        """Units of rounding in a sum of `depth` products whose squares add up to `sum_of_squares`.

        To those of `dot_terms` come, on tensor cores, one unit in the last place, two of rounding, for each addition
        that they cut off, relative to what was added up by then: at most the whole. Of numbers in two parts the least
        product is left out, which is at most 4 units of the whole one, and each part low is off by at most 2.
        """
        units = 2.0 * self.cuts(depth) + (8.0 if self.split > 1 else 0.0)
        return dot_terms(depth, sum_of_squares) + units * np.sqrt(sum_of_squares)

    def cuts(self, depth: int) -> int:
        """Additions that a tensor core cuts off, towards zero, on the way to a sum of `depth` products.

        Each shortens the sum by 0.7 units on average, and by less than half of them in all, as it grows on the way.
        """
        if self.step == 0:
            return 0
        return self.split * -(-min(depth, self.fresh or depth) // self.step)

    def through(self, sums: int, depth: int) -> float:
        """Relative error (L2) of a tensor after `sums` sums in a row, of up to `depth` products each.

        Tensor cores shorten every one of them alike, which adds up; roundings to nearest are random, so that their
        squares do, `1 / 6` of each as `dot_terms` says. A loss has no more: if logits shrink by e, the cross-entropy
        loses e times the label's distance from the mean logit, which is at most e times the loss.
        """
        roundings = depth if self.step == 0 else depth / self.fresh if self.fresh else 0.0
        return self.accumulate * (sums * 0.5 * self.cuts(depth) + float(np.sqrt(sums * roundings / 6)))


def _precision(name: str, dtype: npt.DTypeLike, mantissa: int, output: int, accumulate: int) -> Precision:
    return Precision(name, np.dtype(dtype), mantissa, 2.0**-output, 2.0**-accumulate)


PRECISIONS = {
    p.name: p
    for p in (
        _precision("float64", np.float64, 52, 53, 53),
        _precision("float32", np.float32, 23, 24, 24),
        _precision("tf32", np.float32, 10, 24, 24),
        _precision("bfloat16", ml_dtypes.bfloat16, 7, 8, 24),
        _precision("float16", np.float16, 10, 11, 24),
    )
}
# Fasi, Higham, Mikaitis and Pranesh, "Numerical behavior of NVIDIA tensor cores" (2021): an addition takes 4 products
# of TF32 and 8 of 16 bits. float32 is three products of TF32, whose sums gemm/block.cuh adds up every 16 numbers.
TENSOR_CORES = {
    "float32": replace(PRECISIONS["float32"], step=4, fresh=16, split=3),
    "tf32": replace(PRECISIONS["tf32"], step=4),
    "bfloat16": replace(PRECISIONS["bfloat16"], step=8),
    "float16": replace(PRECISIONS["float16"], step=8),
}


def dot_terms(depth: int, sum_of_squares: Array) -> Doubles:
    """Units of rounding in a sum of `depth` products whose squares add up to `sum_of_squares`.

    Added one after the other, terms of random sign leave partial sums of at most the root of the sum of squares, and
    `depth` independent roundings of that: their standard deviation is below ``sqrt(depth / 6)`` of it. Ten of these
    are less than 5 ``sqrt(depth)``; the last 4 are for the products and for adding a bias.
    """
    return np.asarray((5.0 * np.sqrt(depth) + 4.0) * np.sqrt(sum_of_squares), np.float64)


def tensor_core_sum(total: Doubles, products: Doubles) -> Doubles:
    """Sums as Fasi et al. published them of tensor cores: of `total` and the `products` [step, ...] that one takes.

    All are aligned to the largest of them and lose what lies more than 24 bits below its first one; what they add up to
    is cut off, towards zero, to float32. The products are exact in float64.
    """
    terms = np.concatenate([total[None], products])
    unit = np.ldexp(1.0, np.frexp(np.abs(terms).max(axis=0))[1] - 25)
    exact = (np.trunc(terms / unit) * unit).sum(axis=0)
    near = exact.astype(np.float32)
    beyond = np.abs(near.astype(np.float64)) > np.abs(exact)
    return np.where(beyond, np.nextafter(near, np.float32(0)), near).astype(np.float64)


# Of every comparison of the test that runs, the largest error as part of its bound; conftest.py empties it.
ratios: list[float] = []


def assert_equal(actual: Any, expected: Array) -> None:
    """Require the same shape, dtype and numbers; -0 equals 0, NaN equals nothing."""
    _assert_alike(actual, expected.shape, expected.dtype)
    wrong = np.argwhere(~np.asarray(actual == expected))
    if len(wrong):
        at = tuple(int(i) for i in wrong[0])
        raise AssertionError(
            f"{len(wrong)} of {actual.size} differ, first at {at}: {actual[at]!r}, not {expected[at]!r}"
        )


def assert_close(actual: Any, expected: Doubles, bound: Doubles, dtype: npt.DTypeLike, shared: float = 0.0) -> None:
    """Require shape and dtype, every element within its bound of the float64 reference, and no systematic error.

    Beside the elements, where the bound is some standard deviations of random rounding: the relative L2 error, the
    cosine, and the gain, that is how much longer or shorter the result is along the reference. `shared` is a relative
    error that all elements may have in common, such as that of a rounded constant.

    The limits of L2 and gain follow from errors that are independent and at most evenly spread over their bounds b: the
    squares of the errors then have the mean b^2 / 3 and the deviation 0.3 b^2, and the gain, sum(error y) / sum(y^2),
    has the deviation sqrt(sum(b^2 y^2) / 3) / sum(y^2). Four deviations are allowed. A truncation or a wrong scale is
    no such error: the gain sees it wherever there are elements enough to tell.
    """
    _assert_alike(actual, expected.shape, dtype)
    result, bound = np.asarray(actual, np.float64), np.broadcast_to(bound, expected.shape)
    if not np.isfinite(expected).all() or not np.isfinite(bound).all():
        raise AssertionError("the reference or its bound is not finite")
    if not np.isfinite(result).all():
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(result))[0])
        raise AssertionError(f"not finite at {at}: {result[at]}, expected {expected[at]}")
    error = result - expected
    parts = np.abs(error) / np.maximum(bound, 1e-300)
    ratios.append(float(parts.max(initial=0.0)))
    outside = int(np.count_nonzero(np.abs(error) > bound))
    if outside:
        at = tuple(int(i) for i in np.unravel_index(np.argmax(parts), error.shape))
        raise AssertionError(
            f"{outside} of {error.size} out of bounds, worst at {at}: {result[at]!r}, expected "
            f"{expected[at]!r} within {bound[at]:.3g}"
        )
    length = np.linalg.norm(expected)
    if error.size == 0 or length == 0 or not error.any():
        return
    allowed = float(np.linalg.norm(bound) / length)
    fourth = float(np.sum(bound**4)) / float(np.sum(bound**2)) ** 2
    most = min(1.0, max(0.75, np.sqrt(1 / 3 + 1.2 * np.sqrt(fourth)))) * allowed
    relative = float(np.linalg.norm(error) / length)
    if relative > most:
        raise AssertionError(f"relative L2 error {relative:.3g}, expected at most {most:.3g}")
    cosine = float(np.vdot(result, expected) / (np.linalg.norm(result) * length))
    if not cosine >= 1.0 - allowed**2 - 1e-15:
        raise AssertionError(f"cosine 1 - {1 - cosine:.3g}, expected at least 1 - {allowed**2:.3g}")
    gain = abs(float(np.vdot(error, expected))) / length**2
    if gain > (most := 4.0 * float(np.linalg.norm(bound * expected)) / (np.sqrt(3.0) * length**2) + shared):
        raise AssertionError(f"gain is off by {gain:.3g}, expected at most {most:.3g}")


@dataclass(frozen=True)
class Sums:
    """What an operation adds up: in float64, with units of rounding, and of how many products."""

    value: Doubles
    units: Doubles
    depth: int

    def plus(self, terms: Array | None) -> Sums:
        """With one addition more."""
        if terms is None:
            return self
        wide = np.broadcast_to(terms, self.value.shape).astype(np.float64)
        return Sums(self.value + wide, self.units + np.abs(self.value) + 2 * np.abs(wide), self.depth)


def assert_sums(actual: Any, expected: Sums, precision: Precision, dtype: npt.DTypeLike | None = None) -> None:
    """Require sums that were rounded to `precision`, in an array of `dtype`; tensor cores may shorten all alike.

    What holds products to a bound does it by this: the allowance for what tensor cores cut off lives in `Precision`.
    """
    bound = precision.bound(expected.value, expected.units)
    shared = precision.cuts(expected.depth) * precision.accumulate
    assert_close(actual, expected.value, bound, dtype or precision.dtype, shared)


def assert_gradient(function: Callable[[Doubles], Array], x: Doubles, dy: Doubles, gradient: Array) -> None:
    """Require that `gradient` is that of ``sum(dy * function(x))`` by every element of x, by central differences.

    Steps of h leave an error of about h^2 from the third derivative and of eps / h from rounding; at h = 2^-17 both are
    about 1e-10 of the sizes at hand, and the bound is a hundred of that.
    """
    _assert_alike(gradient, x.shape, np.float64)
    h = 2.0**-17
    difference, scale = np.empty_like(x), 0.0
    for at in np.ndindex(*x.shape):
        values = []
        for sign in (1.0, -1.0):
            moved = x.copy()
            moved[at] += sign * h
            values.append(function(moved) * dy)
        difference[at] = np.sum(values[0] - values[1]) / (2 * h)
        scale = max(scale, float(np.abs(values[0]).sum()))
    assert_close(gradient, difference, np.full(x.shape, 1e-8 * max(scale, 1.0)), np.float64)


def _assert_alike(actual: Any, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
    if not isinstance(actual, np.ndarray):
        raise AssertionError(f"expected an array, got {type(actual).__name__}")
    if actual.shape != shape:
        raise AssertionError(f"expected shape {list(shape)}, got {list(actual.shape)}")
    if actual.dtype != dtype:
        raise AssertionError(f"expected dtype {np.dtype(dtype)}, got {actual.dtype}")
