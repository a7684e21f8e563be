"""Dropout, its mask recomputed from Philox whenever it is needed; paper section 4.2."""

from __future__ import annotations

from ...base.array import Array
from ...base.params import DropoutParams
from ..runtime import Runtime
from ._runtime import runtime_of


def apply(x: Array, p: DropoutParams, out: Array) -> None:
    """Write the masked and scaled `x` [rows, columns] to `out`, which may be `x`; the backward pass is the same.

    ``p.step`` is a number, or a uint64 array of one element that is read when the kernel runs.
    """
    runtime = runtime_of(x)
    runtime.call("dropout_apply", {"x": x, "y": out, "step": step(runtime, p, "step")}, dropout=p)


def step(runtime: Runtime, p: DropoutParams, name: str) -> Array:
    """``p.step`` in device memory; `name` is for errors."""
    return runtime.in_device_memory(name, p.step, "uint64")
