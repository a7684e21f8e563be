"""Copies of ranges of the last dimension, from one floating-point type to another, with or without an addition."""

from __future__ import annotations

from ._runtime import Array, pitch_of, runtime_of


def cast(x: Array, out: Array, addend: Array | None) -> None:
    """Write `x` (+ `addend`), rounded to `out`'s dtype, to `out`; all [..., columns]."""
    columns = x.shape[-1]
    runtime_of(x).call(
        "copy_columns",
        {"x": x, "addend": addend, "y": out},
        rows=x.size // columns if columns else 0,
        columns=columns,
        x_pitch=pitch_of(x),
        addend_pitch=0 if addend is None else pitch_of(addend),
        y_pitch=pitch_of(out),
        x_dtype=x.dtype.name,
        y_dtype=out.dtype.name,
    )
