"""Local response normalisation across channels; x and y are [N, H, W, C]."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...base.array import Array
from ._runtime import runtime_of

if TYPE_CHECKING:
    from ...base.params import LrnParams


def fprop(x: Array, p: LrnParams, out: Array) -> None:
    """Write the normalised `x` to `out`."""
    runtime_of(x).call("lrn_fprop", {"x": x, "y": out}, window=p)


def bprop(dy: Array, x: Array, p: LrnParams, out: Array, *, relu: bool = False) -> None:
    """Write the gradient by the input to `out`; with `relu` zero where `x` is not positive."""
    runtime_of(x).call("lrn_bprop", {"dy": dy, "x": x, "dx": out}, window=p, relu=relu)
