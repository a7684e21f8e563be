"""Whether an implementation computes what it is timed for: a part against our operation in float64 on the CPU.

Since every output is filled with NaN before, an element that nothing wrote is found wherever it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tests.ops.tolerance import PRECISIONS, TENSOR_CORES

from .. import ops
from ..ops.base import Arrays
from .cases import Array, Case, numbers, of_role

Outputs = dict[str, Array]
# An opponent may round what it keeps between two kernels, and partial sums, to the type of its output. PyTorch's
# response normalisation does so six times, the most of all.
THEIR_ROUNDINGS = 8
# Errors of the CPU in float32 that a result may have, where no sums of products say more: orders differ.
_FLOAT32_ERRORS = 4
# Normalised numbers nearer than this, relative to them, may be equal once rounded.
_NEAR = {"bfloat16": 2.0**-4, "float16": 2.0**-7, "float32": 2.0**-16}


@dataclass(frozen=True)
class Expected:
    """What a part of an output should be."""

    at: tuple[Array, ...]
    values: Array  # float64
    ours: Array | float  # how far sums may be from the values, beside the result's own rounding
    theirs: Array | float  # the same of an opponent
    decided: Array | bool  # where a tie does not matter


Wanted = dict[str, Expected]


def expected(case: Case) -> Wanted:
    """What some of set 0's outputs should be."""
    operation = ops.of(case)
    tensors, part = operation.tensors(case), operation.part(case)
    at = {n: [part.get(x, np.arange(e)) for x, e in zip(t.axes, t.shape, strict=True)] for n, t in tensors.items()}
    updated = of_role(tensors, "updated")
    before: Arrays = {n: numbers(n, t, 0, at[n]) for n, t in of_role(tensors, "input", "updated").items()}
    before = {n: v if v.dtype.kind in "ui" else v.astype(np.float64) for n, v in before.items()}

    def run(dtype: Any) -> Arrays:
        a = {n: v if v.dtype.kind in "ui" else v.astype(dtype, copy=n in updated) for n, v in before.items()}
        for name, tensor in of_role(tensors, "output", "kept").items():
            if name != "copy":  # the CPU's weights are not rounded
                a[name] = np.empty([len(i) for i in at[name]], "uint8" if tensor.dtype == "uint8" else dtype)
        operation.prepare(case, a, np.array, part)
        operation.call(case, a)
        return {**a, "copy": a.get("master")}

    wide = run(np.float64)
    # What rounds beside a product's sums, which have bounds of their own.
    single = wide if operation.multiplies and not updated else run(np.float32)
    ours = TENSOR_CORES[case.precision]
    theirs = replace(ours, fresh=0, accumulate=2 * ours.accumulate)  # sums in whatever order, all on tensor cores
    bounds: list[Any] = [0.0, 0.0]
    if operation.multiplies:
        depth, squares, scale = operation.product_sums(case, wide)
        bounds = [scale * p.accumulate * p.dot(depth, squares) for p in (ours, theirs)]
    decided, partial = operation.decided(case, wide, _NEAR[case.dtype]), operation.partial_sums(case, wide)
    found = {}
    for name in of_role(tensors, "output", "updated"):
        sure = decided.get(name, np.array(True))
        error = np.abs(single[name].astype(np.float64) - wide[name])
        rounding = _FLOAT32_ERRORS * float(np.max(error, where=sure, initial=0.0))
        ours_off, theirs_off = (bound + rounding for bound in bounds)
        if name in partial:
            theirs_off = theirs_off + THEIR_ROUNDINGS * PRECISIONS[case.dtype].output * partial[name]
        found[name] = Expected(np.ix_(*at[name]), wide[name].astype(np.float64), ours_off, theirs_off, sure)
    return found


def unwritten(output: Array) -> int:
    """Elements that are NaN: never written, or wrong. Integers are told by the values alone."""
    return 0 if output.dtype.kind in "iub" else int(np.count_nonzero(np.isnan(output)))


def problems(outputs: Outputs, wanted: Wanted, ours: bool) -> list[str]:
    """What is wrong with an implementation's outputs, one sentence each; nothing if all is well.

    An output that is not wanted, such as a mask of an opponent's own, needs only be written.
    """
    found = []
    for name, output in outputs.items():
        if count := unwritten(output):
            found.append(f"{name}: {count} of {output.size} elements are NaN or were not written")
        if name not in wanted:
            continue
        e = wanted[name]
        actual = output[e.at].astype(np.float64)
        bound = np.zeros(e.values.shape)
        if output.dtype.kind not in "iub":
            kind = PRECISIONS[output.dtype.name]
            kind = kind if ours else replace(kind, output=THEIR_ROUNDINGS * kind.output)
            bound = kind.bound(e.values, 0.0) + (e.ours if ours else e.theirs)
        error = np.abs(actual - e.values)
        wrong = ~(error <= bound) & e.decided  # NaN is wrong
        if wrong.any():
            at = np.unravel_index(np.argmax(np.where(wrong, np.nan_to_num(error - bound, nan=np.inf), -1)), wrong.shape)
            place = [int(i[j]) for i, j in zip((i.ravel() for i in e.at), at, strict=True)]
            found.append(
                f"{name}: {int(wrong.sum())} of {wrong.size} checked elements are off, the worst ({place}) is "
                f"{actual[at]:.6g}, expected {e.values[at]:.6g} within {bound[at]:.2g}"
            )
    return found
