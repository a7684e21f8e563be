"""Local response normalisation across channels; x and y are [N, H, W, C]."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._runtime import Array, runtime_of

if TYPE_CHECKING:
    from ...base.params import LrnParams


def fprop(x: Array, p: LrnParams, out: Array) -> None:
    """Write the normalised `x` to `out`, another array."""
    runtime = runtime_of(x)
    runtime.require_apart(out, x=x)
    runtime.call("lrn_fprop", {"x": x, "y": out}, **_arguments(x, p))


def bprop(dy: Array, x: Array, p: LrnParams, out: Array, *, relu: bool = False) -> None:
    """Write the gradient by the input to `out`, another array; with `relu` zero where `x` is not positive."""
    runtime = runtime_of(x)
    runtime.require_apart(out, dy=dy, x=x)
    runtime.call("lrn_bprop", {"dy": dy, "x": x, "dx": out}, relu=relu, **_arguments(x, p))


def window(p: LrnParams) -> dict[str, float]:
    """The parameters as the extension takes them."""
    return {"groups": p.groups, "size": p.size, "k": p.k, "alpha": p.alpha, "beta": p.beta}


def _arguments(x: Array, p: LrnParams) -> dict[str, Any]:
    n, h, w, c = x.shape
    return {"images": n, "pixels": h * w, "channels": c, **window(p), "dtype": x.dtype.name}
