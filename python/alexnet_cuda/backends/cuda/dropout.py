"""Inverted dropout on the GPU, its mask recomputed from Philox whenever it is needed; paper section 4.2."""

from __future__ import annotations

from ..cpu.dropout import DropoutParams
from ._runtime import Array, addresses, extension, in_device_memory, stream


def apply(x: Array, p: DropoutParams, out: Array) -> None:
    """Write the masked and scaled `x` [rows, columns] to `out`, which may be `x`; the backward pass is the same.

    ``p.step`` is a number, or a uint64 array of one element that is read when the kernel runs.
    """
    rows, columns = x.shape
    step = in_device_memory(p.step, "uint64")
    extension().dropout_apply(
        **addresses(x=x, y=out, step=step),
        rows=rows,
        columns=columns,
        start=p.start,
        row_stride=p.row_stride,
        seed=p.seed,
        purpose=p.purpose,
        rate=p.rate,
        dtype=x.dtype.name,
        stream=stream(),
    )
