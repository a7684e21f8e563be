"""Space to depth: a convolution's input whose channels are no whole 16-byte chunks, laid out as the kernels want it."""

from __future__ import annotations

from ...base.params import FoldedLayout
from ._runtime import Array, runtime_of


def fold(x: Array, layout: FoldedLayout, out: Array) -> None:
    """Write `x` [N, H, W, C] folded to `out` [N, *layout.shape], another array."""
    runtime_of(x).call(
        "conv2d_fold",
        {"x": x, "folded": out},
        shape=x.shape,
        stride=layout.stride,
        padding=layout.padding,
        fold_shape=layout.shape,
        dtype=x.dtype.name,
    )
