"""Max-pooling on the GPU; x [N, H, W, C], y [N, P, Q, C]."""

from __future__ import annotations

from ._runtime import Array, addresses, extension, stream


def fprop(x: Array, size: int, stride: int, out: Array, argmax: Array | None) -> None:
    """Write the maxima to `out` and, where given, the first tap that holds each (row * size + column) to `argmax`."""
    extension().max_pool_fprop(**addresses(x=x, y=out, argmax=argmax), **arguments(x, size, stride))


def bprop(dy: Array, argmax: Array, size: int, stride: int, out: Array) -> None:
    """Write the gradient by the input to `out` [N, H, W, C]: each dy goes to the element it came from."""
    extension().max_pool_bprop(**addresses(dy=dy, argmax=argmax, dx=out), **arguments(out, size, stride))


def arguments(x: Array, size: int, stride: int) -> dict[str, object]:
    """What the extension wants to know of a pool over `x`, or over an input shaped like it."""
    n, h, w, c = x.shape
    shape = {"images": n, "height": h, "width": w, "channels": c}
    return {**shape, "size": size, "stride": stride, "dtype": x.dtype.name, "stream": stream()}
