"""From uint8 images to the input of conv1: crop, mirror, colour noise, mean, scale and channel order in one pass."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..base.array import array_kind
from ..base.params import FoldedLayout, Views
from ._dispatch import Array, backend, check


def fprop(
    images: Array,
    views: Views,
    *,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    channel_order: str,
    out: Array,
    folded: FoldedLayout | None = None,
) -> Array:
    """Write ``(pixel + shift - mean) / (std * divisor)`` of each image's view to `out`.

    Parameters
    ----------
    images : uint8 array [N, H, W, 3]
        RGB.
    views : Views
        Corner, mirroring and colour shift of each image, and a divisor. Corners in device memory are not checked.
    mean, std : 3 floats
        RGB, 0 to 255.
    channel_order : {"RGB", "BGR"}
        Of the result.
    out : array [N, size, size, 3]
        On the kernels also with a fourth channel, which becomes zero. With `folded` [N, *folded.shape].
    folded : FoldedLayout, optional
        From `conv2d.folded_layout`: how the views are laid out for the first convolution.

    Returns
    -------
    array
        `out`.

    Raises
    ------
    ValueError, TypeError
        Shapes or dtypes that do not fit together, a crop outside its image, an unknown channel order.
    """
    check("images", images, (None, None, None, 3), np.uint8)
    backend("augment", images, out)
    run = prepare(images.shape, views, mean=mean, std=std, channel_order=channel_order, out=out, folded=folded)
    n, height, width, _ = images.shape
    size = _view_size(out, n, folded)
    on_host = n and array_kind(views.top) == array_kind(views.left) == "cpu"
    if on_host and (
        min(views.top.min(), views.left.min()) < 0 or views.top.max() + size > height or views.left.max() + size > width
    ):
        raise ValueError(f"crops of {size} pixels reach outside the images, {height}x{width}")
    run(images)
    return out


def prepare(
    shape: tuple[int, ...],
    views: Views,
    *,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    channel_order: str,
    out: Array,
    folded: FoldedLayout | None = None,
) -> Callable[[Array], None]:
    """`fprop` of many batches of a shape [N, H, W, 3], into the same arrays: a function of the images.

    It takes uint8 images of that shape, which it does not check, and views as they lie in these arrays then.

    Raises
    ------
    ValueError, TypeError
        As `fprop`.
    """
    n = shape[0]
    _view_size(out, n, folded)
    for name, extents, dtype in (("top", (n,), np.int64), ("left", (n,), np.int64), ("mirrored", (n,), np.bool_)):
        check(f"views.{name}", getattr(views, name), extents, dtype)
    check("views.shift", views.shift, (n, 3), np.float32)
    if len(mean) != 3 or len(std) != 3 or not min(std) > 0:
        raise ValueError(f"mean must be 3 numbers and std 3 positive ones, got {mean} and {std}")
    if not views.divisor > 0:
        raise ValueError(f"views.divisor must be positive, got {views.divisor}")
    if channel_order not in ("RGB", "BGR"):
        raise ValueError(f"channel_order must be 'RGB' or 'BGR', got {channel_order!r}")
    module = backend("augment", out)
    arguments = (views, np.asarray(mean), np.asarray(std) * views.divisor, channel_order == "BGR", out, folded)
    run: Callable[[Array], None] = module.prepare(shape, *arguments)
    return run


def _view_size(out: Array, n: int, folded: FoldedLayout | None) -> int:
    """Height and width of the views of n images, which fit a checked `out`."""
    if folded is None:
        check("out", out, (n, None, None, None))
        size, fourth = out.shape[1], array_kind(out) != "cpu" and out.shape[3] == 4
        check("out", out, (n, size, size, 4 if fourth else 3))
    else:
        check("out", out, (n, *folded.shape))
        size = folded.unfolded[0]
        if folded.unfolded != (size, size, 3):
            raise ValueError(f"folded must be of square images of 3 channels, got one of {folded.unfolded}")
    return int(size)
