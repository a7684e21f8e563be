"""Activations: elementwise functions whose gradient follows from what they gave."""

from __future__ import annotations

from ...base.array import Array
from ._runtime import runtime_of


def fprop(name: str, x: Array, out: Array) -> None:
    """Write the function of `x` to `out`, which may be `x`."""
    runtime_of(x).call(f"{name}_fprop", {"x": x, "y": out})


def bprop(name: str, dy: Array, y: Array, out: Array) -> None:
    """Write the gradient by the input, from the output `y`, to `out`, which may be `dy` or `y`."""
    runtime_of(y).call(f"{name}_bprop", {"y": y, "dy": dy, "dx": out})
