"""Space to depth: how the kernels lay out a convolution's input whose channels are no whole 16-byte chunks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ...base.params import FoldedLayout

Array = npt.NDArray[Any]


def fold(x: Array, layout: FoldedLayout, out: Array) -> None:
    """Write `x` [N, H, W, C] folded to `out` [N, *layout.shape]."""
    (height, width, _), (sh, sw), (ph, pw) = layout.shape, layout.stride, layout.padding
    n, h, w, c = x.shape
    padded = np.zeros((n, height * sh, width * sw, c), x.dtype)
    window = padded[:, ph : ph + h, pw : pw + w]
    window[...] = x[:, : window.shape[1], : window.shape[2]]
    cells = padded.reshape(n, height, sh, width, sw, c).transpose(0, 1, 3, 2, 4, 5)
    out[..., : sh * sw * c] = cells.reshape(n, height, width, sh * sw * c)
    out[..., sh * sw * c :] = 0


def unfold(folded: Array, layout: FoldedLayout) -> Array:
    """The input [N, H, W, C] that `fold` makes `folded` of; zeros where no cell reaches."""
    (height, width, _), (sh, sw), (ph, pw) = layout.shape, layout.stride, layout.padding
    h, w, c = layout.unfolded
    n = len(folded)
    cells = folded[..., : sh * sw * c].reshape(n, height, width, sh, sw, c).transpose(0, 1, 3, 2, 4, 5)
    window = cells.reshape(n, height * sh, width * sw, c)[:, ph : ph + h, pw : pw + w]
    x = np.zeros((n, h, w, c), folded.dtype)
    x[:, : window.shape[1], : window.shape[2]] = window
    return x
