"""Space to depth: how the kernels lay out a convolution's input whose channels are not a multiple of 16 bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class FoldedLayout:
    """How an input [N, H, W, C] lies folded.

    Cell (y, x) holds the positions ``y * stride[0] + i - padding[0], x * stride[1] + j - padding[1]`` of the input in
    the order (i, j, c), and zeros for positions outside of it and in channels beyond these.

    Attributes
    ----------
    unfolded : (int, int, int)
        H, W and C.
    stride, padding : (int, int)
        Vertical and horizontal.
    shape : (int, int, int)
        Height, width and channels of the folded input.
    """

    unfolded: tuple[int, int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    shape: tuple[int, int, int]


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
