"""Copies of ranges of the last dimension, from one floating-point type to another, with or without an addition."""

from __future__ import annotations

from ...base.array import Array
from ._runtime import runtime_of


def cast(x: Array, out: Array, addend: Array | None) -> None:
    """Write `x` (+ `addend`), rounded to `out`'s dtype, to `out`; all [..., columns]."""
    runtime_of(x).call("copy_columns", {"x": x, "addend": addend, "y": out})
