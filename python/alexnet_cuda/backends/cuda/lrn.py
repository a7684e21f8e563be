"""Local response normalisation across channels on the GPU; x and y are [N, H, W, C]."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._runtime import Array, addresses, extension, stream

if TYPE_CHECKING:
    from ..cpu.lrn import LrnParams


def fprop(x: Array, p: LrnParams, out: Array) -> None:
    """Write the normalised `x` to `out`, which may be `x`."""
    x = _own(x, out)
    extension().lrn_fprop(**addresses(x=x, y=out), **_arguments(x, p))


def bprop(dy: Array, x: Array, p: LrnParams, out: Array) -> None:
    """Write the gradient by the input to `out`, which may be `dy`."""
    dy, x = _own(dy, out), _own(x, out)
    extension().lrn_bprop(**addresses(dy=dy, x=x, dx=out), **_arguments(x, p))


def _own(array: Array, out: Array) -> Array:
    """`array`, or a copy of it where it is `out`: a thread of the kernels reads what others would have overwritten."""
    return array.copy() if array is out else array


def window(p: LrnParams) -> dict[str, float]:
    """The parameters as the extension takes them."""
    return {"groups": p.groups, "size": p.size, "k": p.k, "alpha": p.alpha, "beta": p.beta}


def _arguments(x: Array, p: LrnParams) -> dict[str, object]:
    n, h, w, c = x.shape
    return {"images": n, "pixels": h * w, "channels": c, **window(p), "dtype": x.dtype.name, "stream": stream()}
