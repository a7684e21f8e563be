"""From uint8 images to the first layer's input on the CPU: crop, mirror, mean, colour noise, channel order in one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ...base.parallel import parallel_for, scratch
from ...base.params import FoldedLayout, Views
from .fold import fold

Array = npt.NDArray[Any]


def prepare(shape: tuple[int, ...], *rest: Any) -> Callable[[npt.NDArray[np.uint8]], None]:
    """`fprop` of all but the images."""
    return lambda images: fprop(images, *rest)


def fprop(
    images: npt.NDArray[np.uint8],
    views: Views,
    mean: Array,
    std: Array,
    reverse_channels: bool,
    out: Array,
    folded: FoldedLayout | None = None,
) -> None:
    """Write ``(pixel + shift - mean) / std`` of each image's view to `out` [N, size, size, 3], or folded.

    `images` is [N, H, W, 3] RGB; `mean` and `std` are RGB [3]; `reverse_channels` makes the result BGR.
    """
    if folded is not None:
        whole = np.empty((len(images), *folded.unfolded), out.dtype)
        fprop(images, views, mean, std, reverse_channels, whole)
        fold(whole, folded, out)
        return
    size = out.shape[1]
    order = slice(None, None, -1) if reverse_channels else slice(None)
    scale = (1.0 / std).astype(np.float32)
    # Rows of size * 3 numbers instead of pixels of three keep NumPy's inner loops long.
    scale_row = np.tile(scale[order], size)

    def image(n: int) -> None:
        top, left = views.top[n], views.left[n]
        crop = images[n, top : top + size, left : left + size]
        if views.mirrored[n]:
            crop = crop[:, ::-1]
        pixels = scratch("pixels", crop.shape, np.uint8)
        np.copyto(pixels, crop[..., order])
        offset = ((views.shift[n] - mean).astype(np.float32) * scale)[order]
        target = out[n].reshape(size, size * 3)
        np.multiply(pixels.reshape(size, size * 3), scale_row, out=target, casting="unsafe")
        np.add(target, np.tile(offset, size), out=target)

    parallel_for(image, len(images))
