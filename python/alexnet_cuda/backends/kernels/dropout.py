"""Inverted dropout, its mask recomputed from Philox whenever it is needed; paper section 4.2."""

from __future__ import annotations

from ...base.params import DropoutParams
from ._runtime import Array, runtime_of


def apply(x: Array, p: DropoutParams, out: Array) -> None:
    """Write the masked and scaled `x` [rows, columns] to `out`, which may be `x`; the backward pass is the same.

    ``p.step`` is a number, or a uint64 array of one element that is read when the kernel runs.
    """
    runtime = runtime_of(x)
    rows, columns = x.shape
    runtime.call(
        "dropout_apply",
        {"x": x, "y": out, "step": runtime.in_device_memory("step", p.step, "uint64")},
        rows=rows,
        columns=columns,
        start=p.start,
        row_stride=p.row_stride,
        seed=p.seed,
        purpose=p.purpose,
        rate=p.rate,
        dtype=x.dtype.name,
    )
