"""Space to depth: a convolution's input whose channels are not a multiple of 16 bytes, as the kernels want it."""

from __future__ import annotations

from ...base.array import Array
from ...base.params import FoldedLayout
from ._runtime import runtime_of


def fold(x: Array, layout: FoldedLayout, out: Array) -> None:
    """Write `x` [N, H, W, C] folded to `out` [N, *layout.shape], another array."""
    runtime_of(x).call("conv2d_fold", {"x": x, "folded": out}, layout=layout)
