"""Whether an implementation computes what it is timed for: sampled elements against float64, and nothing unwritten.

A whole reference in float64 would take longer than all measurements. So some hundreds of elements of every output, the
corners among them, are computed in float64 from their own inputs and compared; and since every output is filled with
NaN before, an element that nothing wrote is found wherever it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from .values import numpy_dtype

Array = npt.NDArray[Any]
Outputs = dict[str, Array]

_finfo: Any = ml_dtypes.finfo  # knows bfloat16 too; comes without annotations

SAMPLES = 256
# Unit roundoff of the sums. Tensor cores cut off instead of rounding, hence 2^-23 for float32.
_ACCUMULATE = 2.0**-23
# An opponent may round what it keeps between two kernels, and partial sums, to the type of its output. PyTorch's
# response normalisation does so six times, the most of all.
OUR_ROUNDINGS = 1
THEIR_ROUNDINGS = 8


@dataclass(frozen=True)
class Sample:
    """Elements of an output and what they should be.

    Attributes
    ----------
    output : str
    index : int array [m]
        Flat.
    expected : float64 array [m]
    terms : float64 array [m]
        Units of rounding in the sums that lead to an element, times the size of what was added.
    exact : bool
        The operation only selects: no rounding at all is allowed.
    """

    output: str
    index: Array
    expected: Array
    terms: Array
    exact: bool = False


def choose(rng: np.random.Generator, shape: tuple[int, ...], count: int = SAMPLES) -> tuple[Array, tuple[Array, ...]]:
    """Flat indices and coordinates of some elements of a tensor: all its corners, the others at random."""
    corners = np.stack(np.meshgrid(*([0, n - 1] for n in shape), indexing="ij")).reshape(len(shape), -1)
    flat = np.ravel_multi_index(corners, shape)
    size = int(np.prod(shape, dtype=np.int64))
    flat = np.unique(np.concatenate([flat, rng.integers(0, size, count)]))
    return flat, np.unravel_index(flat, shape)


def dot_terms(depth: int, sum_of_squares: Array) -> Array:
    """Units of rounding in a sum of `depth` products whose squares add up to `sum_of_squares`.

    Rounded to nearest, ten standard deviations of `depth` independent roundings are below 5 sqrt(depth) of the root of
    the sum of squares (see tests/ops/tolerance.py). Cut off towards zero at every step of at least 4 products (TF32; 8
    of 16 bits), as tensor cores do, they add up instead: depth / 4 at most.
    """
    return np.asarray((depth / 4 + 5.0 * np.sqrt(depth) + 4.0) * np.sqrt(sum_of_squares), np.float64)


def unwritten(output: Array) -> int:
    """Elements that are NaN: never written, or wrong. Integers are told by the sample alone."""
    if output.dtype.kind not in "fV" and output.dtype.name != "bfloat16":
        return 0
    bits = output.reshape(-1).view(f"u{output.dtype.itemsize}")
    exponent = {"bfloat16": 0x7F80, "float16": 0x7C00, "float32": 0x7F800000}[output.dtype.name]
    sign = 1 << (8 * output.dtype.itemsize - 1)
    return int(np.count_nonzero((bits & (sign - 1)) > exponent))


def problems(outputs: Outputs, samples: list[Sample], roundings: int) -> list[str]:
    """What is wrong with an implementation's outputs, one sentence each; nothing if all is well."""
    found = []
    for name, output in outputs.items():
        if count := unwritten(output):
            found.append(f"{name}: {count} of {output.size} elements are NaN or were not written")
    for sample in samples:
        if sample.output not in outputs:
            continue  # an opponent that has no such output, such as an argmax in its own numbering
        output = outputs[sample.output].reshape(-1)
        actual = output[sample.index].astype(np.float64)
        bound = np.zeros_like(sample.expected)
        if not sample.exact:
            kind = _finfo(numpy_dtype(output.dtype.name))
            unit, least = float(kind.eps) / 2, float(kind.smallest_subnormal)
            bound = roundings * (unit * np.abs(sample.expected) + least) + _ACCUMULATE * sample.terms
        error = np.abs(actual - sample.expected)
        wrong = ~(error <= bound)  # NaN is wrong
        if wrong.any():
            worst = int(np.argmax(np.where(np.isnan(error), np.inf, error - bound)))
            found.append(
                f"{sample.output}: {int(wrong.sum())} of {wrong.size} sampled elements are off, the worst "
                f"(element {int(sample.index[worst])}) is {actual[worst]:.6g}, expected {sample.expected[worst]:.6g} "
                f"within {bound[worst]:.2g}"
            )
    return found
