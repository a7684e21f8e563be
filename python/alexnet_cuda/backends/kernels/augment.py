"""From uint8 images to the first layer's input: crop, mirror, mean, colour noise, channel order in one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ...base.array import Array, array_kind
from ._runtime import runtime_of

if TYPE_CHECKING:
    from ...base.params import FoldedLayout, Views


def prepare(
    shape: tuple[int, ...],
    views: Views,
    mean: Array,
    std: Array,
    reverse_channels: bool,
    out: Array,
    folded: FoldedLayout | None = None,
) -> Callable[[Array], None]:
    """A function that writes ``(pixel + shift - mean) / std`` of each image's view to `out`, or that folded.

    It takes images [N, H, W, 3] = `shape`, RGB; `mean` and `std` are RGB [3]; `out` is [N, size, size, 3], BGR with
    `reverse_channels`, and a fourth channel of it becomes zero. The views may be in device memory already; if not they
    are copied there.
    """
    runtime = runtime_of(out)
    chosen = {name: getattr(views, name) for name in ("top", "left", "mirrored", "shift")}
    for name, values in chosen.items():
        if array_kind(values) == "cpu":
            chosen[name] = runtime.from_host(f"views.{name}", values)
    submit = runtime.prepare(
        "augment",
        {"y": out, **chosen},
        mean=[float(value) for value in mean],
        std=[float(value) for value in std],
        reverse_channels=reverse_channels,
        folded=folded,
    )
    return lambda images: submit(images=images)
