"""From uint8 images to the first layer's input on the GPU: crop, mirror, mean, colour noise, channel order in one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._runtime import Array, addresses, extension, stream

if TYPE_CHECKING:
    from ..cpu.augment import Views


def fprop(images: Array, views: Views, mean: Array, std: Array, reverse_channels: bool, out: Array) -> None:
    """Write ``(pixel + shift - mean) / std`` of each image's view to `out` [N, size, size, 3].

    `images` is [N, H, W, 3] RGB; `mean` and `std` are RGB [3]; `reverse_channels` makes the result BGR. A fourth
    channel of `out` becomes zero. The views may be in device memory already; if not they are copied there.
    """
    import cupy

    n, height, width, _ = images.shape
    chosen = {name: cupy.asarray(getattr(views, name)) for name in ("top", "left", "mirrored", "shift")}
    extension().augment(
        **addresses(images=images, y=out, **chosen),
        count=n,
        height=height,
        width=width,
        size=out.shape[1],
        channels=out.shape[3],
        mean=[float(value) for value in mean],
        std=[float(value) for value in std],
        reverse_channels=reverse_channels,
        dtype=out.dtype.name,
        stream=stream(),
    )
